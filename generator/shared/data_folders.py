"""Which folders of data are not those of classes."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Such as COCO's train2017, fold_1, and PASCAL VOC's.
PARTS = re.compile(
    r"(train(ing)?|val(id(ation)?)?|test(ing)?|fold[ _-]?)\d*"
    r"|(images?|masks?|labels?|annotations?)\d*"
    r"|jpegimages|imagesets|segmentation(class|object)",
    re.IGNORECASE,
)
# Such as training_set beside test_set: one to train with, and one to validate or test with.
SPLITS = (
    re.compile(r"(.*[ _-])?train(ing|set)?([ _-]?(data|images?|set))?\d*", re.IGNORECASE),
    re.compile(
        r"(.*[ _-])?(val(id(ation)?)?|test(ing)?)(set)?([ _-]?(data|images?|set))?\d*",
        re.IGNORECASE,
    ),
)


def are_parts(names: Sequence[str]) -> bool:
    """Tell whether several folders are parts of data."""
    return len(names) > 1 and (
        all(PARTS.fullmatch(name) for name in names)
        or all(any(split.fullmatch(name) for name in names) for split in SPLITS)
    )


def is_shown(name: str) -> bool:
    """Tell whether a folder is none that a system or a tool leaves among others."""
    return not name.startswith(".") and name != "__MACOSX"
