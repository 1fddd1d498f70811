"""Label files: what `inspect_labels` finds out, and what projects read, which must be the same."""

from __future__ import annotations

import codecs
import json
import pickle
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

from conftest import Project, in_shell, labels_of
from generator import facts
from generator.errors import UserError
from generator.fast import FastRenderer
from generator.labels import LabelError, inspect_labels
from generator.rendering import plain_copy, template_root
from test_archive import network_state, run_suggestion

EMOJI = "🐱 猫"
ARABIC = "قطة"
NFD = unicodedata.normalize("NFD", "Mäuschen")
ZERO = "{'0': 'a', '1': 'b'}"


@dataclass(frozen=True)
class Case:
    """A label file, and what comes of it.

    Attributes:
        file: its name.
        content: as it lies on the disk; for a folder, the paths in it: folders end in a slash.
        format: the label_format that is found, and that the project has.
        names: what is read.
        error: a pattern of the message, if it is refused.
        note: a pattern of what people are told.
        classes: how many the network has; as many as there are names, if not given.
        encoding: as found.
        answers: those that are found, besides the format.
    """

    file: str
    content: bytes | str | list[str]
    format: str
    names: list[str] | None = None
    error: str = ""
    note: str = ""
    classes: int = 0
    encoding: str = "utf-8"
    answers: tuple[tuple[str, Any], ...] = ()


def case(
    file: str, content: Any, label_format: str, expected: list[str] | str, **more: Any
) -> Case:
    """Return a case that gives names, or an error if `expected` is a pattern."""
    if isinstance(expected, str):
        return Case(file, content, label_format, error=expected, **{"classes": 2, **more})
    return Case(file, content, label_format, expected, **{"classes": len(expected), **more})


def bom16(text: str, order: str) -> bytes:
    """Return UTF-16 with a byte order mark."""
    mark = codecs.BOM_UTF16_LE if order == "le" else codecs.BOM_UTF16_BE
    return mark + text.encode(f"utf-16-{order}")


AB = ["a", "b"]
CASES: dict[str, Case] = {
    # ------------------------------------------------------------------------ index_to_name
    "names by index": case("a.json", '{"0": "a", "1": "b"}', "index_to_name", AB),
    "indices as texts": case("a.json", '{"b": "1", "a": "0"}', "class_to_idx", AB),
    "in another order": case("a.json", '{"1": "b", "0": "a"}', "index_to_name", AB),
    "byte order mark": case(
        "a.json", '\ufeff{"0": "a", "1": "b"}', "index_to_name", AB, encoding="utf-8 with BOM"
    ),
    "UTF-16 little": case(
        "a.json",
        bom16('{"0": "a", "1": "猫"}', "le"),
        "index_to_name",
        ["a", "猫"],
        encoding="utf-16",
    ),
    "UTF-16 big": case(
        "a.json", bom16('{"0": "a", "1": "b"}', "be"), "index_to_name", AB, encoding="utf-16"
    ),
    "CRLF": case("a.json", '{\r\n"0": "a",\r\n"1": "b"\r\n}\r\n', "index_to_name", AB),
    "any language": case(
        "a.json",
        json.dumps({"0": EMOJI, "1": ARABIC, "2": NFD}, ensure_ascii=False),
        "index_to_name",
        [EMOJI, ARABIC, NFD],
    ),
    "escapes": case(
        "a.json", r'{"0": "\ud83d\ude00", "1": "\u732b"}', "index_to_name", ["😀", "猫"]
    ),
    "strings of digits are names": case(
        "a.json", '{"0": "1", "1": "0"}', "index_to_name", ["1", "0"]
    ),
    "Python's repr": case(
        "a.txt",
        "{0: 'tench, Tinca tinca',\n 1: \"b\"}",
        "index_to_name",
        ["tench, Tinca tinca", "b"],
    ),
    "Python's repr of strings": case("a", ZERO, "index_to_name", AB),
    "trailing comma": case("a.json", '{"0": "a", "1": "b",}', "index_to_name", AB),
    "JSON of another name": case("labels.csv", '{"0": "a", "1": "b"}', "index_to_name", AB),
    "from one": case(
        "a.json", '{"1": "a", "2": "b"}', "index_to_name", AB, note="from 1 to 2: taken as"
    ),
    "ten from one": case(
        "a.json",
        json.dumps({n: f"x{n}" for n in range(1, 11)}),
        "index_to_name",
        "ImageFolder has sorted them as text",
        classes=10,
    ),
    "one class": case("a.json", '{"0": "a"}', "index_to_name", ["a"]),
    "equal names": case(
        "a.json",
        '{"0": "crane", "1": "b", "2": "crane"}',
        "index_to_name",
        ["crane", "b", "crane"],
        note=r"crane \[0, 2\]",
    ),
    "a gap": case("a.json", '{"0": "a", "2": "c"}', "index_to_name", "lacks 1$", classes=3),
    "a gap, unknown": case(
        "a.json", '{"0": "a", "5": "f"}', "index_to_name", r"lacks 1 and should not have 5 \(f\)"
    ),
    "background lacks": case(
        "a.json", '{"1": "a", "2": "b"}', "index_to_name", "lacks 0|names 2 classes", classes=3
    ),
    "too few": case(
        "a.json", '{"0": "a", "1": "b"}', "index_to_name", "lacks 2|2 classes", classes=3
    ),
    "too many": case(
        "a.json",
        '{"0": "a", "1": "b"}',
        "index_to_name",
        "names 2 classes, the .* has 1",
        classes=1,
    ),
    "a key twice": case("a.json", '{"0": "a", "0": "b"}', "index_to_name", "more than once: 0"),
    "Python's key twice": case("a", "{0: 'a', 0: 'b'}", "index_to_name", "more than once: 0"),
    "key of two types": case("a", "{0: 'a', '0': 'b'}", "index_to_name", "more than once: 0"),
    "an empty name": case("a.json", '{"0": "a", "1": " "}', "index_to_name", "class 1 is empty"),
    "no name": case(
        "a.json", '{"0": "a", "1": null, "2": "c"}', "index_to_name", "class 1 is None"
    ),
    "leading zero": case("a.json", '{"00": "a", "1": "b"}', "index_to_name", "'00' is no index"),
    "negative": case("a.json", '{"-1": "a", "0": "b"}', "index_to_name", "'-1' is no index"),
    "huge": case("a.json", '{"%s": "a"}' % ("9" * 5000), "index_to_name", "is no index"),
    "wnid to name": case(
        "a.json",
        '{"n02119789": "kit fox", "n02100735": "setter"}',
        "index_to_name",
        "'n02119789' is a WordNet id",
    ),
    "half a surrogate pair": case(
        "a.json", r'{"0": "a", "1": "\ud800"}', "index_to_name", "class 1 is .* no text"
    ),
    "number to number": case("a", "{0: 1, 1: 0}", "index_to_name", "in 0: 1, which is the name"),
    "broken JSON": case("a.json", '{"0": "a", "1": ', "index_to_name", "not valid JSON"),
    "deep": case("a.json", "[" * 100_000, "index_to_name", "not valid JSON"),
    "a number": case("a.json", "7", "index_to_name", "holds 7; expected an object or a list"),
    "an empty object": case("a.json", "{}", "index_to_name", "lacks 0, 1|no class"),
    # ----------------------------------------------------------------------------- imagenet
    "wnid and name": case(
        "a.json",
        '{"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}',
        "imagenet",
        ["tench", "goldfish"],
    ),
    "ten entries from one": case(
        "a.json",
        json.dumps({n: ["x", f"x{n}"] for n in range(1, 11)}),
        "imagenet",
        "ImageFolder",
        classes=10,
    ),
    "the last of three": case("a.json", '{"0": ["x", "y", "a"], "1": ["b"]}', "imagenet", AB),
    "name and wnid": case(
        "a.json",
        '{"0": ["a", "n01440764"], "1": ["b", "n01443537"]}',
        "imagenet",
        AB,
        answers=(("label_element", 0),),
    ),
    "tuples": case("a", "{0: ('n01440764', 'a'), 1: ('n01443537', 'b')}", "imagenet", AB),
    "an empty list": case("a.json", '{"0": ["x", "a"], "1": []}', "imagenet", r"class 1 is \[\]"),
    "a list of numbers": case(
        "a.json", '{"0": ["x", 1], "1": ["x", 2]}', "imagenet", "class 0 is 1"
    ),
    "a string among lists": case(
        "a.json", '{"0": ["x", "a"], "1": "b", "2": ["x", "c"]}', "imagenet", "class 1 is 'b'"
    ),
    # ------------------------------------------------------------------------- class_to_idx
    "index by name": case("a.json", '{"b": 1, "a": 0}', "class_to_idx", AB),
    "numbers are indices": case("a.json", '{"0": 1, "1": 0}', "class_to_idx", ["1", "0"]),
    "wnid to index": case(
        "a.json", '{"n01440764": 0, "n01443537": 1}', "class_to_idx", ["n01440764", "n01443537"]
    ),
    "Python's class_to_idx": case("a.txt", "{'b': 1, 'a': 0}", "class_to_idx", AB),
    "ten indices from one": case(
        "a.json",
        json.dumps({f"x{n}": n for n in range(1, 11)}),
        "class_to_idx",
        [f"x{n}" for n in range(1, 11)],
        note="from 1 to 10",
    ),
    "class_to_idx from one": case(
        "a.json", '{"a": 1, "b": 2}', "class_to_idx", AB, note="from 1 to 2"
    ),
    "two names of an index": case(
        "a.json", '{"a": 0, "b": 1, "c": 1}', "class_to_idx", "'b' and 'c' both have index 1"
    ),
    "an index lacks": case(
        "a.json", '{"a": 0, "c": 2}', "class_to_idx", r"lacks 1 and should not have 2 \(c\)"
    ),
    "a negative index": case("a.json", '{"a": -1, "b": 0}', "class_to_idx", "'a' is -1"),
    "a boolean": case("a.json", '{"a": 0, "b": true, "c": 2}', "class_to_idx", "'b' is True"),
    "a name twice": case("a.json", '{"a": 0, "a": 1}', "class_to_idx", "more than once: a"),
    # --------------------------------------------------------------------------------- list
    "a list": case("a.json", '["a", "b"]', "list", AB),
    "a list of one": case("a.json", '["a"]', "list", ["a"]),
    "Python's list": case("a.txt", "['a', 'b']", "list", AB),
    "numbers in names": case(
        "a.json", '["1 dollar", "2 dollar"]', "list", ["1 dollar", "2 dollar"]
    ),
    "equal names in a list": case("a.json", '["a", "a"]', "list", ["a", "a"], note=r"a \[0, 1\]"),
    "a list with null": case("a.json", '["a", null]', "list", "class 1 is None"),
    "a list of booleans": case("a.json", "[true, false]", "list", "class 0 is True"),
    "pairs": case("a.json", '[[0, "a"], [1, "b"]]', "list", r"class 0 is \[0, 'a'\]"),
    "a long list": case("a.json", '["a", "b", "c"]', "list", "names 3 classes, the .* has 2"),
    "an empty list file": case("a.json", "[]", "list", "lacks 0, 1|no class"),
    # --------------------------------------------------------------------------------- text
    "a line each": case("a.txt", "a\nb\n", "text", AB),
    "no newline at the end": case("a.txt", "a\nb", "text", AB),
    "empty lines at the end": case("a.txt", "a\nb\n\n\n", "text", AB),
    "old Mac": case("a.txt", "a\rb\r", "text", AB),
    "Windows": case("a.txt", "\ufeffa\r\nb\r\n", "text", AB, encoding="utf-8 with BOM"),
    "Windows' Unicode": case(
        "a.txt", bom16("猫\r\nb\r\n", "le"), "text", ["猫", "b"], encoding="utf-16"
    ),
    "any language in lines": case(
        "a.names", f"{EMOJI}\n{ARABIC}\n{NFD}\n", "text", [EMOJI, ARABIC, NFD]
    ),
    "line separators are no lines": case(
        "a.txt", "a\u2028a\nb\x0cb", "text", ["a\u2028a", "b\x0cb"]
    ),
    "commas": case(
        "a.txt", "tench, Tinca tinca\nb, c, d\n", "text", ["tench, Tinca tinca", "b, c, d"]
    ),
    "one line": case("a.txt", "a, b,c\n", "text", "tr , '.n' < .*/a.txt > .*/a-lines.txt"),
    "spaces around": case("a.txt", "  a \n\tb\n", "text", AB),
    "index first": case("a.txt", "1 b\n0 a\n", "text", AB),
    "index and colon": case("a.txt", "0: a\n1: b\n", "text", AB),
    "index and comma": case("a.txt", "0,a\n1,b\n", "text", AB),
    "index and tab": case("a.txt", "0\ta x\n1\tb\n", "text", ["a x", "b"]),
    "index and dot": case("a.txt", "0. a\n1. b\n", "text", AB),
    "index last": case("a.txt", "b,1\na,0\n", "text", AB),
    "index last, space": case("a.txt", "b 1\na 0\n", "text", AB),
    "ten lines from one": case(
        "a.txt", "\n".join(f"{n} x{n}" for n in range(1, 11)), "text", "ImageFolder", classes=10
    ),
    "lines from one": case("a.txt", "1 a\n2 b\n", "text", AB, note="from 1 to 2"),
    "numbers as names": case("a.txt", "0\n1\n2\n", "text", ["0", "1", "2"]),
    "numbers that are their index": case("a.txt", "0 0\n1 1\n", "text", ["0", "1"]),
    "a currency": case("a.txt", "1 dollar\n2 dollar\n", "text", ["1 dollar", "2 dollar"]),
    "currencies": case(
        "a.txt", "1 dollar\n5 euro\n", "text", ["1 dollar", "5 euro"], note="part of the names"
    ),
    "one currency": case("a.txt", "1 dollar\n", "text", ["1 dollar"]),
    "aeroplanes": case("a.txt", "Boeing 707\nBoeing 747\n", "text", ["Boeing 707", "Boeing 747"]),
    "decimals": case("a.txt", "0.5 l\n1.7 l\n", "text", ["0.5 l", "1.7 l"]),
    "synset words": case(
        "a.txt",
        "n02012849 crane\nn02119789 kit fox, Vulpes macrotis\nn03126707 crane\n",
        "text",
        ["crane", "kit fox, Vulpes macrotis", "crane"],
        note="left out WordNet ids",
    ),
    "synsets": case("a.txt", "n02100735\nn02119789\n", "text", ["n02100735", "n02119789"]),
    # As the wnids.txt of Tiny ImageNet, and the words of the development kit of ILSVRC.
    "unsorted synsets": case("a.txt", "n02119789\nn02100735\n", "text", "behind n02119789"),
    "unsorted words": case("a.txt", "n02119789 a\nn02100735 b\n", "text", "n02100735 behind"),
    "synset, index, name": case(
        "a.txt", "n02119789 2 b\nn02100735 1 a\n", "text", AB, note="from 1"
    ),
    "a synset twice": case("a.txt", "n02119789 a\nn02119789 b\n", "text", "once: n02119789"),
    "numbers on both sides": case("a.txt", "0 a 1\n1 b 0\n", "text", "which number in '0 a 1'"),
    "numbers and numbers": case("a.txt", "0,1\n1,0\n", "text", "which number in '0,1'"),
    "clock times": case("a.txt", "1:30\n2:15\n", "text", "which number in '1:30'"),
    "ImageNet's cranes": case("a.txt", "0 crane\n1 crane\n2 tench\n", "text", "equal without them"),
    "a gap in lines": case(
        "a.txt", "0 a\n1 b\n3 d\n", "text", r"lacks 2 and .* 3 \(d\)", classes=3
    ),
    "an index twice": case("a.txt", "0 a\n1 b\n1 c\n", "text", "'b' and 'c' both have index 1"),
    "an empty line": case("a.txt", "a\n\nb\n", "text", "line 2 is empty", classes=3),
    "training images": case("a.txt", "x/1.jpg 0\nx/2.JPEG 1\ny/3.png 1\n", "text", "lists images"),
    # ---------------------------------------------------------------------------------- csv
    "titles": case("a.csv", "index,name\n0,a\n1,b\n", "csv", AB),
    "no titles": case("a.csv", "0,a\n1,b\n", "csv", AB),
    "name first": case("a.csv", "name,index\nb,1\na,0\n", "csv", AB),
    "pandas": case("a.csv", ",name\n0,a\n1,b\n", "csv", AB),
    "pandas' tabs": case("a.tsv", "\tname\n0\ta\n1\tb\n", "csv", AB),
    "Excel": case(
        "a.csv", "\ufeffIndex;Name\r\n0;a\r\n1;b\r\n", "csv", AB, encoding="utf-8 with BOM"
    ),
    "Excel's Unicode": case(
        "a.csv",
        bom16("Index\tName\r\n0\t猫\r\n1\tb\r\n", "le"),
        "csv",
        ["猫", "b"],
        encoding="utf-16",
    ),
    "quotes": case(
        "a.csv", '0,"tench, Tinca"\n1,"say ""b"""\n', "csv", ["tench, Tinca", 'say "b"']
    ),
    "semicolons and commas": case("a.csv", "0;a, x\n1;b, y\n", "csv", ["a, x", "b, y"]),
    "spaces in cells": case("a.csv", "0, a\n1, b\n", "csv", AB),
    "a table in a text file": case("a.txt", "index,name\n0,a\n1,b\n", "csv", AB),
    "ten from one in a table": case(
        "a.csv", "".join(f"{n},x{n}\n" for n in range(1, 11)), "csv", "ImageFolder", classes=10
    ),
    "from one in a table": case("a.csv", "id,name\n1,a\n2,b\n", "csv", AB, note="from 1"),
    "with wnids": case("a.csv", "0,n01440764,a\n1,n01443537,b\n", "csv", AB),
    "more columns": case("a.csv", "id,name,count\n0,a,7\n1,b,9\n", "csv", AB),
    "two indices": case("a.csv", ",index,name\n0,1,b\n1,0,a\n", "csv", AB),
    "names are numbers": case("a.csv", "0,7\n1,3\n", "csv", ["7", "3"]),
    "titles tell": case("a.csv", "digit,index\n0,1\n1,0\n", "csv", ["1", "0"]),
    "one column": case("a.csv", "a\nb\n", "csv", AB),
    "one column with a title": case("a.csv", "name\na\nb\n", "csv", AB, note="taken as a title"),
    "one row": case("a.csv", "0,a\n", "csv", ["a"]),
    "equal names in a table": case("a.csv", "0,a\n1,a\n", "csv", ["a", "a"], note=r"a \[0, 1\]"),
    "which column": case("a.csv", "0,1\n1,0\n", "csv", "which column is the index"),
    "which name": case("a.csv", "0,a,b\n1,c,d\n", "csv", "which column is the name"),
    "no index": case(
        "a.csv", "n02119789,fox\nn02100735,setter\n", "csv", "no column with the index"
    ),
    "unquoted comma": case("a.csv", "0,tench, Tinca\n1,b\n", "csv", "row 2 has 2 cells"),
    "open quote": case("a.csv", '0,"a\n1,b\n', "csv", "quote"),
    "a gap in a table": case("a.csv", "0,a\n2,c\n", "csv", "lacks 1"),
    "an index twice in a table": case("a.csv", "0,a\n1,b\n1,c\n", "csv", "'b' and 'c' both"),
    "training images in a table": case("a.csv", "file,label\na.jpg,0\nb.jpg,1\n", "csv", "images"),
    "training ids": case(
        "a.csv", "id,label\n0,a\n1,b\n2,a\n3,a\n4,b\n", "csv", "5 rows but only 2 classes"
    ),
    "numbers in one column": case("a.csv", "0 a\n1 b\n", "csv", "label_format=text"),
    "an image": case(
        "a.txt", b"\xff\xd8\xff\xe0\0\x10JFIF", "text", "is an image; expected the names"
    ),
    "an empty name in a table": case("a.csv", "0,a\n1,\n", "csv", "class 1 is empty"),
    # -------------------------------------------------------------------------- huggingface
    "a config": case(
        "config.json",
        '{"model_type": "vit", "id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}}',
        "huggingface",
        AB,
    ),
    "id2label alone": case("c.json", '{"id2label": {"1": "b", "0": "a"}}', "huggingface", AB),
    "label2id of strings": case(
        "c.json", '{"id2label": {"0": "a", "1": "b"}, "label2id": {"a": "0"}}', "huggingface", AB
    ),
    "placeholders": case(
        "c.json",
        '{"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}',
        "huggingface",
        ["LABEL_0", "LABEL_1"],
        note="placeholders",
    ),
    "a contradiction": case(
        "c.json",
        '{"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 1}}',
        "huggingface",
        "label2id gives 'a' the index 1",
    ),
    "no id2label": case(
        "c.json", '{"model_type": "vit", "num_labels": 2}', "huggingface", "has no id2label"
    ),
    "a gap in a config": case(
        "c.json", '{"id2label": {"0": "a", "2": "c"}}', "huggingface", "lacks 1"
    ),
    # ------------------------------------------------------------------------------ folders
    "folders": case("data", ["b/1.png", "a/1.png"], "folders", AB),
    "by code points": case(
        "data",
        ["0/", "1/", "10/", "2/", "B/", "a/", "Ä/"],
        "folders",
        ["0", "1", "10", "2", "B", "a", "Ä"],
    ),
    "hidden entries": case(
        "data",
        ["a/", "b/", ".ipynb_checkpoints/", ".DS_Store", "__MACOSX/"],
        "folders",
        AB,
        note=r"left out: \.ipynb_checkpoints, __MACOSX",
    ),
    "files beside folders": case("data", ["a/", "b/", "README.md"], "folders", AB),
    "folders of any language": case(
        "data", [f"{EMOJI}/", f"{ARABIC}/", f"{NFD}/"], "folders", sorted([EMOJI, ARABIC, NFD])
    ),
    "wnids": case("data", ["n02119789/", "n02100735/"], "folders", ["n02100735", "n02119789"]),
    "no folders": case("data", ["a.jpg"], "folders", "no sub-folders"),
    "the parts of the data": case(
        "data", ["train/a/", "val/a/"], "folders", "(label_folder=|Name ).*/train"
    ),
    "the parts of the data, named at length": case(
        "data",
        ["training_set/a/", "test_set/a/"],
        "folders",
        "(label_folder=|Name ).*/training_set",
    ),
    "too many folders": case("data", ["a/", "b/", "c/"], "folders", "3 classes, the .* has 2"),
    # ------------------------------------------------------------------ what is no label file
    "empty": case("a.json", "", "index_to_name", "is empty"),
    "only white space": case("a.txt", " \n\n", "text", "is empty"),
    "a pickle": case("a.pkl", pickle.dumps({"a": 0}), "class_to_idx", "is a pickle"),
    "an old pickle": case("a.txt", pickle.dumps({"a": 0}, protocol=0), "text", "is a pickle"),
    "a spreadsheet": case("a.csv", b"PK\x03\x04\x14\0", "csv", "zip file"),
    "an array": case("a.txt", b"\x93NUMPY\x01\0", "text", "NumPy"),
    "a web page": case("a.txt", "\n<!DOCTYPE html>\n<html>", "text", "web page"),
    "a Git LFS pointer": case(
        "a.txt", "version https://git-lfs.github.com/spec/v1\n", "text", "git lfs"
    ),
    "Latin-1": case(
        "a.txt", "a\nM\xe4use\n".encode("latin-1"), "text", r"not UTF-8 text \(line 2\)"
    ),
    "UTF-16 without a mark": case("a.txt", "a\nb\n".encode("utf-16-le"), "text", "zero bytes"),
    "UTF-32": case("a.txt", "a\nb\n".encode("utf-32"), "text", "zero bytes"),
}


def write(folder: Path, number: int, case: Case) -> Path:
    """Write the file of a case and return it."""
    path = folder / str(number) / case.file
    path.parent.mkdir()
    if isinstance(case.content, list):
        for name in case.content:
            entry = path / name
            (entry if name.endswith("/") else entry.parent).mkdir(parents=True, exist_ok=True)
            if not name.endswith("/"):
                entry.touch()
    elif isinstance(case.content, bytes):
        path.write_bytes(case.content)
    else:
        path.write_bytes(case.content.encode())
    return path


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files of all cases."""
    folder = tmp_path_factory.mktemp("labels")
    return {name: write(folder, number, x) for number, (name, x) in enumerate(CASES.items())}


@pytest.fixture(scope="session")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Project]:
    """A function that gives the project for a format and an element."""
    folder = tmp_path_factory.mktemp("projects")
    renderer = FastRenderer(plain_copy(folder / "template"))

    def project(label_format: str, element: int = -1) -> Project:
        path = folder / f"{label_format}{element}"
        if not path.exists():
            answers = {"architecture": "custom", "num_classes": 2, "label_format": label_format}
            renderer.render(path, {**answers, "label_element": element})
        return Project(path)

    return project


READ = """
import json, sys
from pathlib import Path
from tools.labels import read_labels
from tools.project import ProjectError
outcomes = []
for path, classes in json.load(sys.stdin):
    try:
        outcomes.append(read_labels(classes, Path(path)))
    except ProjectError as error:
        outcomes.append(str(error))
print(json.dumps(outcomes))
"""


def read(project: Project, inputs: list[tuple[Path, int]]) -> list[Any]:
    """Return what the project reads in files: [names, notes] of each, or the error's text."""
    result = subprocess.run(
        [sys.executable, "-c", READ],
        cwd=project.path,
        input=json.dumps([(str(path), classes) for path, classes in inputs]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    outcomes: list[Any] = json.loads(result.stdout)
    return outcomes


@pytest.fixture(scope="session")
def read_by_projects(
    files: dict[str, Path], projects: Callable[[str, int], Project]
) -> dict[str, Any]:
    """What the projects make of all cases, each format's in one process."""
    groups: dict[tuple[str, int], list[str]] = {}
    for name, case in CASES.items():
        key = (case.format, dict(case.answers).get("label_element", -1))
        groups.setdefault(key, []).append(name)
    outcomes: dict[str, Any] = {}
    for key, names in groups.items():
        inputs = [(files[name], CASES[name].classes) for name in names]
        outcomes |= zip(names, read(projects(*key), inputs), strict=True)
    return outcomes


@pytest.mark.parametrize("name", CASES)
def test_a_project_reads_or_refuses(name: str, read_by_projects: dict[str, Any]) -> None:
    case, outcome = CASES[name], read_by_projects[name]
    if case.error:
        assert isinstance(outcome, str), outcome
        assert re.search(case.error, outcome), outcome
        assert case.file in outcome
    else:
        assert not isinstance(outcome, str), outcome
        names, notes = outcome
        assert names == case.names
        assert re.search(case.note, "\n".join(notes)) if case.note else not notes


@pytest.mark.parametrize("name", CASES)
def test_inspecting_agrees_with_reading(
    name: str, files: dict[str, Path], read_by_projects: dict[str, Any]
) -> None:
    case, path = CASES[name], files[name]
    if case.error:
        try:
            found = inspect_labels(path, case.classes)
        except LabelError as error:
            assert re.search(case.error, str(error)), error  # noqa: PT017 - or it does not fit
        else:
            assert (found.format, found.fits) == (case.format, False)
            assert re.search(case.error, found.problem)
        return
    found = inspect_labels(path, case.classes)
    assert (found.format, found.encoding) == (
        case.format,
        "folders" if case.format == "folders" else case.encoding,
    )
    assert found.answers["label_format"] == case.format
    if case.format == "folders":
        assert Path(found.answers["label_folder"]) == path.resolve()
    else:
        assert found.answers == {"label_format": case.format, **dict(case.answers)}
    assert [found.names, found.notes] == read_by_projects[name]
    assert (found.fits, found.problem) == (True, "")
    other = inspect_labels(path, case.classes + 5)
    assert (other.names, other.fits) == (case.names, False)
    assert f"names {case.classes} class" in other.problem
    unknown = inspect_labels(path)
    assert (unknown.names, unknown.fits, unknown.problem) == (case.names, None, "")


SAMPLES = {
    "index_to_name": '{"0": "a", "1": "b"}',
    "imagenet": '{"0": ["n01440764", "a"], "1": ["n01443537", "b"]}',
    "class_to_idx": '{"a": 0, "b": 1}',
    "list": '["a", "b"]',
    "huggingface": '{"id2label": {"0": "a", "1": "b"}}',
    "text": "0 a\n1 b\n",
    "csv": "index,name\n0,a\n1,b\n",
}


@pytest.mark.parametrize("label_format", SAMPLES)
def test_the_file_of_another_format_is_never_misread(
    label_format: str, projects: Callable[..., Project], tmp_path: Path
) -> None:
    files = {name: x["file"] for name, x in facts.labels().items()}
    paths = []
    for other, content in SAMPLES.items():
        paths.append(tmp_path / files[other].replace(".", f"-{other}."))
        paths[-1].write_text(content)
    outcomes = read(projects(label_format), [(path, 2) for path in paths])
    for other, outcome in zip(SAMPLES, outcomes, strict=True):
        if other == label_format:
            assert outcome == [["a", "b"], []]
            continue
        assert isinstance(outcome, str), (other, outcome)
        # Lines do not know which JSON it is; the project of that answer does.
        named = "index_to_name" if "json" in files[other] else other
        named = named if label_format in ("text", "csv") else other
        assert f"-d label_format={named}" in outcome, (other, outcome)
        following = outcome.splitlines()[-1]
        assert following.endswith(f" {files[named]} && python archive.py"), following


def test_a_folder_is_no_file_and_a_file_no_folder(
    projects: Callable[..., Project], tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    for label_format in SAMPLES:
        (outcome,) = read(projects(label_format), [(tmp_path, 1)])
        assert "is a folder" in outcome and "-d label_format=folders" in outcome
    missing, file = tmp_path / "b", tmp_path / "c"
    file.write_text("a")
    for outcome in read(projects("folders"), [(missing, 1), (file, 1)]):
        assert "-d label_folder=" in outcome
    for label_format in SAMPLES:
        assert "there is no label file" in read(projects(label_format), [(missing, 1)])[0]
    with pytest.raises(UserError, match="there is no label file"):
        inspect_labels(missing)


def test_another_element_is_the_name(projects: Callable[..., Project], tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text('{"0": ["a", "n01440764", "x"], "1": ["b", "n01443537"]}')
    ids = ["n01440764", "n01443537"]
    (first,) = read(projects("imagenet", 0), [(path, 2)])
    assert first == [["a", "b"], []]
    (second,) = read(projects("imagenet", 1), [(path, 2)])
    assert second[0] == ids
    assert "-d label_element=0" in second[1][0]
    (third,) = read(projects("imagenet", 2), [(path, 2)])
    assert "class 1 is ['b', 'n01443537'], which has no element 2" in third


def test_folders_are_numbered_as_torchvision_does(
    projects: Callable[..., Project], tmp_path: Path, noise_file: bytes
) -> None:
    names = ["0", "1", "10", "2", "Zebra", "ant", "Ähre", "ähre", EMOJI, ARABIC, NFD, "a b", "_x"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(noise_file)
    expected = torchvision.datasets.ImageFolder(str(tmp_path)).class_to_idx
    (outcome,) = read(projects("folders"), [(tmp_path, len(names))])
    assert {name: index for index, name in enumerate(outcome[0])} == expected


@pytest.fixture
def noise_file() -> bytes:
    """An image."""
    from conftest import encode, noise

    return encode(noise(0))


def test_the_named_format_fixes_it_and_the_labels_survive(
    copy_released: Callable[..., Project],
) -> None:
    project = copy_released(architecture="custom", num_classes=4)
    torch.save(network_state(), project.path / "weights" / "w.pth")
    labels = project.path / "index_to_name.json"
    content = json.dumps({"猫": 1, "dog": 2, "emu": 3, "fox": 4})
    labels.write_text(content)
    refused = project.run("archive.py")
    assert refused.returncode == 1
    assert "-d label_format=class_to_idx" in refused.stderr
    run_suggestion(project, refused.stderr)
    assert labels.read_text() == content
    assert "class_to_idx.json" in project.run("archive.py").stderr
    following = refused.stderr.splitlines()[-1].removeprefix("and then: ")
    built = in_shell(following, project.path)
    assert built.returncode == 0, built.stderr
    assert "猫, dog, emu" in built.stdout
    assert "numbered from 1 to 4" in built.stdout
    assert not labels.exists()
    assert (project.path / "class_to_idx.json").read_text() == content


def test_the_names_of_a_new_project_are_noted(copy_project: Callable[..., Project]) -> None:
    project = copy_project(architecture="custom", num_classes=4)
    torch.save(network_state(), project.path / "weights" / "w.pth")
    note = "the names are those of a new project: write yours into"
    assert note in project.run("archive.py").stdout
    labels_of(project.path, ["class 0", "class 1", "class 2", "fox"])
    assert note not in project.run("archive.py").stdout


def test_the_data_set_can_lie_elsewhere(copy_project: Callable[..., Project]) -> None:
    project = copy_project(
        architecture="custom", num_classes=4, label_format="folders", label_folder="../train"
    )
    torch.save(network_state(), project.path / "weights" / "w.pth")
    refused = project.run("archive.py")
    assert refused.returncode == 1
    assert "--labels" in refused.stderr
    for name in ("cat", "dog", "emu", "fox"):
        (project.path.parent / "train" / name).mkdir(parents=True)
    project.archive()
    labels_of(project.path, ["unused"])  # a file beside it does not matter
    project.archive("--labels", str(project.path.parent / "train"))


def test_inspecting_needs_no_torch(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("a\nb\n")
    code = (
        "import sys; from pathlib import Path; from generator.labels import inspect_labels; "
        "assert inspect_labels(Path(sys.argv[1])).names == ['a', 'b']; "
        "sys.exit('torch' in sys.modules or 'copier' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert result.returncode == 0


@pytest.mark.parametrize("label_format", facts.labels())
def test_projects_have_the_code_that_inspects_labels_word_for_word(
    label_format: str, projects: Callable[..., Project]
) -> None:
    folder = projects(label_format).path / "tools" / "label_files"
    rendered = {path.stem for path in folder.glob("*.py")}
    modules = facts.labels()[label_format]["modules"]
    assert rendered == {"__init__", *modules} if modules else not folder.exists()
    for name in rendered:
        own = template_root() / "generator" / "shared" / "label_files" / f"{name}.py"
        _, _, text = (folder / f"{name}.py").read_text().partition("\n")
        assert text == own.read_text().replace("generator.shared.", "tools.")


@pytest.mark.parametrize("label_format", facts.labels())
def test_the_example_that_a_project_brings_is_readable(
    label_format: str, projects: Callable[..., Project]
) -> None:
    project = projects(label_format)
    if name := facts.labels()[label_format]["file"]:
        (outcome,) = read(project, [(project.path / name, 2)])
        names, (note,) = outcome
        assert names == ["class 0", "class 1"]
        assert note.startswith("the names are those of a new project: write yours into")
