# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Numbers before or after the names of classes, which may be names of folders."""

from __future__ import annotations

from pathlib import Path

from .names import LabelFileError, Labels


class UnclearOrderError(LabelFileError):
    """Names whose keys may be the outputs of the network, or names of folders.

    Attributes:
        labels: Index and name of each class, if the keys are outputs.
    """

    conversions = ("--label-order folders", "--label-order outputs")

    def __init__(self, message: str, labels: Labels) -> None:
        super().__init__(message)
        self.labels = labels


def refuse_folder_numbers(path: Path, labels: Labels) -> None:
    """Raise UnclearOrderError if the classes are numbered from 1, and are ten or more.

    The numbers may be names of folders, which ImageFolder sorts as text: 1, 10, 11, ..., 2.
    """
    count = len(labels)
    if count > 9 and sorted(index for index, _ in labels) == list(range(1, count + 1)):
        raise UnclearOrderError(
            f"{path} numbers its classes from 1 to {count}. If these are names of folders, "
            "ImageFolder has sorted them as text (1, 10, 2); else they are the outputs in order",
            labels,
        )
