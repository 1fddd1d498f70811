"""A class for each pixel of an image."""

from __future__ import annotations

import ast
from collections.abc import Collection, Sequence
from pathlib import Path

from PIL import Image

from generator.losses import trained_by_itself
from generator.source import Source, called, calls_of
from generator.tables import images_in
from generator.tasks import DataSet, Evidence, Response, Task, thresholds
from generator.thresholds import other_threshold

RLE = "pycocotools."
LIBRARIES = ("segmentation_models_pytorch.", "torchvision.models.segmentation.")
IGNORED = 255  # in a mask: a pixel that does not count
MOST_CLASSES = 200  # of masks as people have them; those that JPEG has blurred have more values
OUTPUT = "out"  # the key of the logits in what torchvision's segmenters return


class SemanticSegmentation(Task):
    """Softmax over the classes, at each pixel."""

    meaning = "each pixel belongs to exactly one class"
    handler_class = "ImageSegmenter"
    built_in = "image_segmenter"

    def doubts_on_training(
        self,
        names: Collection[str],
        classes: int | None,
        end: str,
        settings: Sequence[tuple[str, str]],
        told: Sequence[float],
    ) -> dict[str, str]:
        """Return that masks overlap, or that one is cut elsewhere than at 0.5."""
        if classes == 1:
            why = other_threshold(told, classes, self.value)
            return {"task": why} if why else {}
        if trace := trained_by_itself(names, end, settings):
            return {
                "task": f"that {trace}, so that its masks may overlap, it seems; task={self.value} "
                "gives each pixel one class, the most probable. If they exclude one another: "
                f"-d task={self.value}"
            }
        return {}

    def evidence_in_code(self, source: Source, nodes: Sequence[ast.AST]) -> Evidence | None:
        """Return the place of a segmenter, or of what it returns."""
        for node in nodes:
            match node:
                case ast.Subscript(slice=ast.Constant(value=str() as key)) if key == OUTPUT:
                    return Evidence(source.at(node), f'["{OUTPUT}"]', sure=False)
                case ast.Call():
                    name = source.full_name(node.func)
                    if name.startswith(LIBRARIES) or name.endswith("ForSemanticSegmentation"):
                        return Evidence(source.at(node), name, sure=True)
        return None

    def read_response(
        self, source: Source, nodes: Sequence[ast.AST], base: str, is_inherited: bool
    ) -> Response:
        """Return in what form a handler returns masks, and where it cuts them."""
        remarks = tuple(
            f"{place}: the handler compares with {', '.join(map(str, values))}; the project takes "
            "what is more probable than 0.5"
            for values, place in thresholds(source, nodes)
            if values != [0.5]
        )[:1]
        encodes_text = any(called(call) == "b64encode" for call in calls_of(nodes))
        for node in nodes:
            if isinstance(node, ast.Call) and source.full_name(node.func).startswith(RLE):
                return Response("rle", source.at(node), remarks=remarks)
            if isinstance(node, ast.Constant) and node.value in ("PNG", "png", ".png"):
                form = "png" if encodes_text else "png_body"
                return Response(form, source.at(node), remarks=remarks)
        return Response(remarks=remarks)

    def read_data(self, path: Path) -> DataSet | None:
        """Return what the folders images and masks tell; the masks have indices of classes."""
        images, masks = path / "images", path / "masks"
        if not images.is_dir() or not masks.is_dir():
            return None
        found = list(images_in(images))
        files = [file for image in found if (file := masks / f"{image.stem}.png").is_file()]
        if not files:
            return None
        indices = {index for file in files for index in pixels_of(file)} - {IGNORED}
        classes = max(indices, default=0) + 1
        doubts = {}
        if 0 < len(indices) < classes / 2 or classes > MOST_CLASSES:
            doubts["num_classes"] = (
                f"the pixels of {masks} have {len(indices)} values up to {classes - 1}; expected "
                "the indices of classes. Gray levels or colours are none, and are to be written "
                f"anew as 0, 1, 2, ... If they are indices: -d num_classes={classes}"
            )
        what = f"{len(found)} images with masks, whose pixels are 0 to {classes - 1}"
        answers = {"num_classes": max(classes, 2)}
        return DataSet(what, answers, (), found[0], sure=True, doubts=doubts)

    def notes_on_classes(self, classes: int) -> list[str]:
        """Return that the background is among them."""
        if classes < 2:
            note = (
                "the network has one output for each pixel, which likely tells the background and "
                "a class apart: more than 0 before a sigmoid, or 0.5 after it, is the class"
            )
        else:
            note = f"{classes} classes include the background, which is the first in most cases"
        return [note]

    def advice_on_labels(self, names: Sequence[str], classes: int) -> str:
        """Return that the background needs a name, too."""
        if len(names) == classes - 1:
            return "the background is a class, in most cases the first: add a name for it"
        return ""


def pixels_of(path: Path) -> set[int]:
    """Return the values of the pixels of a mask; none if it has no indices of classes."""
    try:
        with Image.open(path) as image:
            histogram = image.histogram() if image.mode in ("L", "P") else []
    except (OSError, SyntaxError, ValueError):  # train.py names it
        return set()
    return {value for value, count in enumerate(histogram) if count}


TASK = SemanticSegmentation
