# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The format folders: the sub-folders of training data, as torchvision's ImageFolder has them."""

from __future__ import annotations

import re
from pathlib import Path

from .names import LabelFileError, Labels, abbreviate

PARTS_OF_DATA = {"train", "training", "val", "valid", "validation", "test", "testing"}
# And as archives often have them, such as training_set beside test_set.
LONGER = re.compile(
    r"(.*[ _-])?(train(ing)?|val(id(ation)?)?|test(ing)?)([ _-]?(set|data|images?))?\d*"
)


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
    hidden = [name for name in folders if name.startswith(".") or name == "__MACOSX"]
    names = [name for name in folders if name not in hidden]
    if not names:
        raise LabelFileError(f"{path} has no sub-folders; expected one for each class")
    lower = [name.lower() for name in names]
    are_parts = PARTS_OF_DATA.issuperset(lower) or (
        all(map(LONGER.fullmatch, lower)) and any("train" in name for name in lower)
    )
    if len(names) > 1 and are_parts:
        training = next((name for name in names if "train" in name.lower()), names[0])
        raise LabelFileError(
            f"{path} holds {', '.join(names)}, which are no classes",
            label_folder=(path / training).resolve().as_posix(),
        )
    return [*enumerate(names)], [f"left out: {abbreviate(hidden)}"] if hidden else []
