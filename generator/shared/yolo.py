"""Folders of images whose objects are in text files, as YOLO has them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# What is said of a line that may be either.
POINTS = (
    "is a box with keypoints, or a polygon. Keypoints need kpt_shape in a data.yaml, such as "
    "kpt_shape: [17, 3]; where all are polygons, write task: segment there"
)


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
        settings: What data.yaml holds, each value as the text that it is; nothing if there is none.
    """

    images: Path
    labels: Path
    names: list[str]
    file: Path
    settings: Mapping[str, Any]


def find_folders(path: Path) -> tuple[Path, Path]:
    """Return the folder of the images, and that of the text files."""
    if path.parent.name == "images" and not (path / "images").is_dir():
        return path, path.parent.with_name("labels") / path.name
    return path / "images", path / "labels"


def read_yolo_folder(path: Path) -> YoloFolder:
    """Return what a folder tells, before any of its text files is read.

    Raises:
        YoloError: Nothing names the classes, what does cannot be read, or two files name them
            differently.
    """
    images, labels = find_folders(path)
    places = [folder / "data.yaml" for folder in (path, *path.resolve().parents[:2])]
    yaml_file = next((place for place in places if place.is_file()), None)
    settings = read_settings(yaml_file) if yaml_file is not None else {}
    found: dict[Path, list[str]] = {}
    file = path / "classes.txt"
    if file.is_file():
        found[file] = [line.strip() for line in read_text(file).splitlines() if line.strip()]
    is_beside = yaml_file == path / "data.yaml"  # one further up may be of other data
    if yaml_file is not None and (not found or (is_beside and "names" in settings)):
        found[yaml_file] = names_in(settings, yaml_file)
    notes = path / "notes.json"
    if notes.is_file() and (names := names_in_notes(notes)):
        found[notes] = names
    if not found:
        raise YoloError(
            f"there is no file {file} with the name of a class in each line, nor a data.yaml "
            f"with names in {path} or the two folders above it"
        )
    (first, names), *others = found.items()
    for other, differing in others:
        if differing != names:
            raise YoloError(
                f"{first} has the classes {', '.join(names)}, {other} {', '.join(differing)}; "
                "take out the one that is not right"
            )
    for name in names:
        if names.count(name) > 1:
            numbers = [str(number) for number, other in enumerate(names) if other == name]
            raise YoloError(f"{first} calls the classes {' and '.join(numbers)} {name!r} alike")
    return YoloFolder(images, labels, names, first, settings)


def read_text(file: Path) -> str:
    """Return what is in a text file, with a byte order mark or without."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise YoloError(f"{file} is not in UTF-8: {error}") from error


def read_settings(file: Path) -> dict[str, Any]:
    """Return what a data.yaml holds: texts, lists and mappings, for a class may be called `no`."""
    try:
        return dict(yaml.load(read_text(file), yaml.BaseLoader))
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        raise YoloError(f"{file} is no mapping in YAML: {error}") from error


def names_in(settings: Mapping[str, Any], file: Path) -> list[str]:
    """Return the names of the classes in a data.yaml, in the order of their numbers."""
    try:
        names = settings["names"]
        known = dict(enumerate(names)) if isinstance(names, list) else number_keys(names)
        found = [str(known[number]) for number in range(len(known))]
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise YoloError(
            f"{file} does not name the classes ({error!r}); expected names: [cat, dog], or "
            "names with the numbers of the classes from 0"
        ) from error
    if (count := settings.get("nc", str(len(found)))) != str(len(found)):
        raise YoloError(f"{file} has nc: {count}, and {len(found)} names: {', '.join(found)}")
    return found


def number_keys(names: Mapping[str, Any]) -> dict[int, Any]:
    """Return names by the numbers of their classes."""
    return {int(number): name for number, name in names.items()}


def names_in_notes(file: Path) -> list[str]:
    """Return the names of the classes in Label Studio's notes.json, in the order of their ids."""
    try:
        categories = json.loads(read_text(file))["categories"]
        known = {int(x["id"]): str(x["name"]) for x in categories}
        return [known[number] for number in range(len(known))]
    except (LookupError, TypeError, ValueError):
        return []  # another file of this name


def lines_of(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the lines of a text file that have an object, each after its place."""
    text = read_text(file) if file.is_file() else ""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield f"{file}, line {number}", line


def check_files(folder: YoloFolder, images: Iterable[Path]) -> None:
    """Raise YoloError for objects that would be left out, for they are of no image.

    Args:
        folder: Where they are.
        images: All that are taken from it.
    """
    if parts := [x for x in sorted(folder.images.iterdir()) if is_visible_folder(x)]:
        names = ", ".join(map(str, parts))
        raise YoloError(
            f"{folder.images} holds folders, whose images are left out; name one of its folders: "
            f"{names}"
        )
    taken = {f"{image.stem}.txt" for image in images}
    for file in sorted(folder.labels.iterdir()):
        is_text = file.suffix.lower() == ".txt" and file.name not in (*taken, "classes.txt")
        if is_text and any(line.split()[0].isdecimal() for _, line in lines_of(file)):
            raise YoloError(
                f"{file} has objects, and {folder.images} no image for them: an image 1.jpg has "
                "its objects in 1.txt. If it was taken out of the data, take this file out, too"
            )


def place_of_points(folder: YoloFolder, images: Iterable[Path]) -> str:
    """Return where the first line is, if each may be a box with keypoints.

    Args:
        folder: Where they are.
        images: All that are taken from it.

    Returns:
        The place; "" if a line is something else, or data.yaml says that they are polygons.
    """
    first = ""
    for image in images if folder.settings.get("task") != "segment" else ():
        for place, line in lines_of(folder.labels / f"{image.stem}.txt"):
            if not may_be_points(line.split()[1:]):
                return ""
            first = first or place
    return first


def may_be_points(words: Sequence[str]) -> bool:
    """Tell whether numbers may be a box in the image and keypoints in it.

    Keypoints have a visibility, or none. A polygon would have its first corner amid the others, and
    its second as far from 0, 0 as the sides of a box around them are long: of many, not all have.
    """
    try:
        x, y, width, height, *rest = map(float, words)
    except ValueError:  # too few, or others: said where they are read
        return False
    if not all(z / 2 - 0.01 <= at <= 1.01 - z / 2 for at, z in ((x, width), (y, height))):
        return False
    for count in (2, 3):
        points = [rest[i : i + count] for i in range(0, len(rest), count)]
        if rest and all(
            len(point) == count
            and abs(point[0] - x) <= width / 2 + 0.01
            and abs(point[1] - y) <= height / 2 + 0.01
            and point[2:] in ([], [0], [1], [2])
            for point in points
            if any(point[:2])
        ):
            return True
    return False


def is_visible_folder(path: Path) -> bool:
    """Tell whether a path is a folder that is not hidden."""
    return path.is_dir() and not path.name.startswith(".")
