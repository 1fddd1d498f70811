"""The format folders: the sub-folders of training data, as torchvision's ImageFolder has them."""

from __future__ import annotations

from pathlib import Path

from generator.shared.data_folders import are_parts, is_shown

from .names import LabelFileError, Labels, abbreviate


def parse_labels(path: Path) -> tuple[Labels, list[str]]:
    """Return index and name of each class as ImageFolder numbers them, and notes for people."""
    try:
        folders = sorted(entry.name for entry in path.iterdir() if entry.is_dir())
    except OSError as error:
        raise LabelFileError(
            f"{path} cannot be read as a folder ({error.strerror}). Name the one whose sub-folders "
            "are the classes, with --labels or in the answer label_folder",
            label_folder="FOLDER",
        ) from error
    names = [name for name in folders if is_shown(name)]
    hidden = [name for name in folders if not is_shown(name)]
    if not names:
        raise LabelFileError(f"{path} has no sub-folders; expected one for each class")
    if are_parts(names):
        training = next((name for name in names if "train" in name.lower()), names[0])
        raise LabelFileError(
            f"{path} holds {', '.join(names)}, which are no classes",
            label_folder=(path / training).resolve().as_posix(),
        )
    return [*enumerate(names)], [f"left out: {abbreviate(hidden)}"] if hidden else []
