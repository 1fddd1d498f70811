"""Folders of images whose objects are in text files, as YOLO has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


class YoloError(Exception):
    """A folder is not as YOLO has it; the message says what is missing, or wrong."""


@dataclass(frozen=True)
class YoloFolder:
    """Where images and their objects are, and what the numbers in the text files mean.

    Attributes:
        images: The folder of the images.
        labels: That of the text files; an image without one has no objects.
        names: Of the classes, in the order of their numbers.
        file: Names them.
        settings: What data.yaml holds; nothing if there is none.
    """

    images: Path
    labels: Path
    names: list[str]
    file: Path
    settings: Mapping[str, Any]


def find_folders(path: Path) -> tuple[Path, Path]:
    """Return the folder of the images, and that of the text files."""
    if path.parent.name == "images":
        return path, path.parent.with_name("labels") / path.name
    return path / "images", path / "labels"


def read_yolo_folder(path: Path) -> YoloFolder:
    """Return what a folder tells, before any of its text files is read.

    Raises:
        YoloError: Nothing names the classes, or what does cannot be read.
    """
    images, labels = find_folders(path)
    file = path / "classes.txt"
    places = [folder / "data.yaml" for folder in (path, *path.resolve().parents[:2])]
    yaml_file = next((place for place in places if place.is_file()), None)
    settings = read_settings(yaml_file) if yaml_file is not None else {}
    if file.is_file():
        lines = file.read_text(encoding="utf-8-sig").splitlines()
        names = [line.strip() for line in lines if line.strip()]
        return YoloFolder(images, labels, names, file, settings)
    if yaml_file is None:
        raise YoloError(
            f"there is no file {file} with the name of a class in each line, nor a data.yaml "
            f"with names in {path} or the two folders above it"
        )
    return YoloFolder(images, labels, names_in(settings, yaml_file), yaml_file, settings)


def read_settings(file: Path) -> dict[str, Any]:
    """Return what a data.yaml holds."""
    try:
        return dict(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise YoloError(f"{file} is no mapping in YAML: {error}") from error


def names_in(settings: Mapping[str, Any], file: Path) -> list[str]:
    """Return the names of the classes in a data.yaml, in the order of their numbers."""
    try:
        names = settings["names"]
        known = dict(enumerate(names)) if isinstance(names, list) else dict(names)
        return [str(known[number]) for number in range(len(known))]
    except (LookupError, TypeError, ValueError) as error:
        raise YoloError(
            f"{file} does not name the classes ({error!r}); expected names: [cat, dog], or "
            "names with the numbers of the classes from 0"
        ) from error


def lines_of(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the lines of a text file that have an object, each after its place."""
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield f"{file}, line {number}", line
