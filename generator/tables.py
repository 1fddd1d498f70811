"""Looks at data with labels: the images in a folder, the rows of a table."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from generator.errors import UserError
from generator.shared.data_folders import is_shown
from generator.shared.yolo import (
    POINTS,
    YoloError,
    YoloFolder,
    check_files,
    find_folders,
    lines_of,
    place_of_points,
    read_yolo_folder,
)
from generator.shared.yolo_keypoints import keypoints_in

GRAY = ("1", "L", "LA", "I", "I;16", "F")  # modes of Pillow
LOOKED_AT = 100  # images
Row = dict[str, str]


@dataclass(frozen=True)
class Objects:
    """What a JSON file of COCO, or a folder as YOLO has it, tells of objects in images.

    Attributes:
        what: what it holds, for people.
        names: of the classes, the background aside.
        sample: an image; None if there is none.
        has_masks: whether each object has a mask.
        has_boxes: whether each object has a box that was not made of its mask.
        doubt: what speaks against the form that a folder of YOLO has; "" if nothing does.
        keypoints: the names of each object's keypoints, or how many there are; None if there are
            none.
    """

    what: str
    names: Sequence[str]
    sample: Path | None
    has_masks: bool
    has_boxes: bool = True
    doubt: str = ""
    keypoints: Sequence[str] | int | None = None

    @property
    def with_background(self) -> list[str]:
        """The names of the classes of a network that counts the background as its first."""
        return ["background", *self.names]


def objects_of(path: Path) -> Objects | None:
    """Return what data tell of objects in images; None if they have neither form.

    Raises:
        UserError: They have one, and cannot be read.
    """
    if path.is_dir():
        return objects_in_yolo(path)
    if path.is_file() and path.suffix.lower() == ".json":
        return objects_in_coco(path)
    return None


def objects_in_yolo(path: Path) -> Objects | None:
    """Return what a folder as YOLO has it tells; None if it is none.

    Raises:
        UserError: It is one, and cannot be read.
    """
    folders = find_folders(path)
    if not all(folder.is_dir() for folder in folders):
        return None
    if not any(file.suffix.lower() == ".txt" for file in folders[1].rglob("*")):
        return None
    try:
        return objects_in_folder(read_yolo_folder(path))
    except YoloError as error:
        raise UserError(str(error)) from error


def objects_in_folder(folder: YoloFolder) -> Objects:
    """Return what a folder as YOLO has it tells.

    Raises:
        YoloError: One of its text files cannot be read, or is of no image.
    """
    found = list(images_in(folder.images))
    check_files(folder, [image for image in found if image.parent == folder.images])
    names, sample = objects(folder.names), next(iter(found), None)
    if points := keypoints_in(folder.settings):
        what = f"{len(found)} images with keypoints as YOLO has them"
        return Objects(what, names, sample, has_masks=False, keypoints=points)
    places: dict[bool, str] = {}  # of the first line of either form, by whether it is a polygon
    for image in found:
        for place, line in lines_of(folder.labels / f"{image.stem}.txt"):
            places.setdefault(len(line.split()) > 5, place)
    doubt = ""
    if len(places) == 2:
        doubt = (
            f"{places[False]}, is a box, {places[True]}, a polygon. To learn boxes of both alike"
        )
    elif place := place_of_points(folder, found):
        doubt = f"{place}, {POINTS}. To learn boxes of polygons"
    return Objects(
        f"{len(found)} images with {'polygons' if True in places else 'boxes'} as YOLO has them",
        names,
        sample,
        has_masks=[*places] == [True],
        has_boxes=True not in places,
        doubt=doubt,
    )


def objects_in_coco(path: Path) -> Objects | None:
    """Return what a JSON file of COCO tells; None if it is none.

    Raises:
        UserError: Two classes cannot be told apart.
    """
    try:
        content = json.loads(path.read_bytes())
        categories = {x["id"]: str(x["name"]) for x in content["categories"]}
        files = [str(x["file_name"]) for x in content["images"]]
        masks = [bool(x.get("segmentation")) for x in content["annotations"]]
        points = keypoints_in_coco(content)
        names = [categories[number] for number in sorted(categories)]
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    if len(categories) < len(content["categories"]):
        raise UserError(f"{path}: several categories have the same id")
    places = [folder / name for folder in (path.parent, path.parent / "images") for name in files]
    what = f"{len(files)} images with {len(masks)} objects in a JSON file of COCO"
    sample = next((place for place in places if place.is_file()), None)
    return Objects(
        what, objects(names), sample, has_masks=bool(masks) and all(masks), keypoints=points
    )


def keypoints_in_coco(content: Mapping[str, Any]) -> list[str] | int | None:
    """Return the names of the keypoints that all objects have, else how many; None if one has none.

    Crowds need none.
    """
    named = {x["id"]: x.get("keypoints") or [] for x in content["categories"]}
    single = [x for x in content["annotations"] if not x.get("iscrowd")]
    if not all(x.get("keypoints") for x in single):
        return None
    forms = {(*named[x["category_id"]], len(x["keypoints"])) for x in single}
    if len(forms) != 1:
        return None
    *names, numbers = forms.pop()
    return [str(name) for name in names] or numbers // 3


def objects(names: Iterable[str]) -> list[str]:
    """Return each name once, but that of the background, which is no object."""
    return [x for x in dict.fromkeys(names) if x.strip("_").casefold() != "background"]


@cache
def endings() -> frozenset[str]:
    """Return how the names of images end, as Pillow knows it: ".png", ..."""
    return frozenset(Image.registered_extensions())


def images_in(folder: Path) -> Iterator[Path]:
    """Yield the images in a folder, at any depth, in order; hidden ones are left out."""
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(filter(is_shown, folders))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in endings():
                yield Path(root, name)


def has_colours(data: Path) -> bool:
    """Tell whether an image of data is in colour: of some from all over the folder.

    Where there is a folder images, it has all of them; masks beside it often have a palette.
    """
    folder = data if data.is_dir() else data.parent
    folder = images if (images := folder / "images").is_dir() else folder
    files = [*images_in(folder)]
    for path in files[:: math.ceil(len(files) / LOOKED_AT) or 1]:
        try:
            with Image.open(path) as image:
                if image.mode not in GRAY:
                    return True
        except (OSError, SyntaxError, ValueError):  # train.py names it
            continue
    return False


def folders_in(folder: Path) -> list[Path]:
    """Return the folders in a folder, in order; hidden ones are left out."""
    return sorted(x for x in folder.iterdir() if x.is_dir() and is_shown(x.name))


def tables_in(folder: Path) -> list[Path]:
    """Return the files in a folder that may hold a table or COCO's JSON, in order."""
    return sorted(x for x in folder.iterdir() if x.suffix.lower() in (".csv", ".json", ".jsonl"))


def rows_of(path: Path, suffixes: Collection[str]) -> list[Row]:
    """Return the rows of a CSV or JSONL file; none if it has none of these suffixes.

    Raises:
        UserError: It is damaged.
    """
    if not path.is_file() or path.suffix.lower() not in suffixes:
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() == ".csv":
                return list(csv.DictReader(file, restval=""))
            return [as_row(json.loads(line)) for line in file if line.strip()]
    except (ValueError, csv.Error) as error:  # of JSON and of UTF-8, too
        raise UserError(f"{path} cannot be read as {path.suffix[1:].upper()}: {error}") from error


def as_row(content: object) -> Row:
    """Return what a line of JSON holds, a list as a cell of several labels."""
    if not isinstance(content, dict):
        raise ValueError(f"a line holds a {type(content).__name__}; expected a mapping")
    for key, x in content.items():
        if key == "labels" and isinstance(x, list) and any(x.count(each) > 1 for each in x):
            raise ValueError(f"{x} has a label twice; expected the names of classes")
    return {
        str(key): "".join(f"{each}|" for each in x) if isinstance(x, list) else str(x)
        for key, x in content.items()
        if x is not None
    }


def names_in(labels: Iterable[str]) -> list[str]:
    """Return each of the labels once: sorted, by number if all are numbers, as train.py does.

    Raises:
        UserError: One is several of the others, as in cat|dog.
    """
    names = {*labels} - {""}  # train.py names the place of a label that is missing
    for name in sorted(names):
        parts = {x.strip() for x in name.replace(";", "|").replace(",", "|").split("|")}
        if len(parts) > 1 and parts <= names:
            raise UserError(
                f"the label {name!r} is several of the others. Where an item may have several, "
                "they stand in a column labels, with | between"
            )
    by_number = all(name.isdecimal() for name in names)
    return sorted(names, key=(lambda name: (int(name), name)) if by_number else None)


def parted(cells: Sequence[str]) -> list[list[str]]:
    """Return the labels of cells that may have several: with |, ; or, without these, spaces.

    Raises:
        UserError: Something else is between them.
    """
    separator = next((x for x in "|;" if any(x in cell for cell in cells)), None)
    for cell in cells if separator is None else ():
        if "," in cell or cell.startswith("["):
            raise UserError(f"the labels {cell!r}: expected | between names, as in cat|dog")
    return [[x.strip() for x in cell.split(separator) if x.strip()] for cell in cells]


def doubts_on(question: str, value: str, labels: Iterable[Sequence[str]], noun: str) -> Row:
    """Return the doubt whether items that all have exactly one label may have any number of them.

    Args:
        question: What the task asks about it.
        value: The answer that is right if they may.
        labels: Of each item.
        noun: What an item is called.
    """
    if any(len(each) != 1 for each in labels):
        return {}
    return {
        question: f"each {noun} has exactly one class. If that is so for all that will come, write "
        f"it into a column label; if {noun}s may have several or none: -d {question}={value}"
    }
