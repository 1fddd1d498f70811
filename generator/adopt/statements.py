"""Finds what single statements of a handler do to images, tensors, scores and names of classes."""

from __future__ import annotations

import ast
import functools
import itertools
import re
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TypeGuard

from generator.adopt.images import REVERSED, normalised_by_hand, without_answer
from generator.adopt.networks import is_network
from generator.adopt.responses import NAMES
from generator.source import Source, argument, calls_of, chain

MOST = 6  # that are shown
MOST_FUNCTIONS = 200  # that are looked at
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
Function = ast.FunctionDef | ast.AsyncFunctionDef
# Functions that are not on the way from an image to its prediction, unless they are called there;
# and those that make what is used there.
ASIDE = re.compile(
    r"_*((init|initiali[sz]e|setup|main|train|test)(_\w*)?|(load|build|make|create|get)"
    r"(_(model|net|network|weights|checkpoint|state|labels?|class|names|mapping|config)\w*)?)"
)
MAKING = re.compile(
    r"_*(__init__|initiali[sz]e|setup|main|train|(load|build|make|create|get)"
    r"_(model|net|network|weights|checkpoint|state|labels?|class|names|mapping|config)\w*)"
)
COUNTED = {  # words in the names of numbers that are no pixels and no scores
    *("time", "counter", "start", "stop", "end", "begin", "elapsed", "now", "latency", "duration"),
    *("len", "length", "index", "idx", "count", "counts", "offset", "cursor", "total", "num", "n"),
    *("size", "shape", "width", "height", "w", "h", "box", "boxes", "left", "top", "right"),
    *("bottom", "i", "j", "k", "char", "word", "words", "token", "tokens", "name", "path"),
    *("dir", "folder", "file", "filename", "root", "prefix", "key", "text", "string"),
}
OF_FILES = re.compile(r"folder|path|location|url|hash", re.IGNORECASE)
SCALE = (255, 127.5, 1 / 255, 100, 1000)  # of bytes, read elsewhere, of per cent, and of seconds
LAYERS = ("torch.nn.functional.", "torch.", "numpy.", "torchvision.ops.")
CHANGING = {
    *("interpolate", "upsample", "pad", "grid_sample", "avg_pool2d", "max_pool2d", "unfold"),
    *("flip", "roll", "clamp", "clip", "pow", "sqrt", "log", "exp", "nms", "batched_nms"),
    *("fliplr", "flipud", "rot90", "normalize", "instance_norm", "layer_norm", "batch_norm"),
    "argmin",
}
METHODS = {
    *("clamp", "clamp_", "clip", "pow", "sqrt", "log", "exp", "repeat", "filter", "point"),
    *("flip", "fliplr", "flipud", "rot90", "argmin"),
}
ARITHMETIC: dict[str, type[ast.operator]] = {  # of torch and numpy, by the names of functions
    **dict.fromkeys(("add", "add_"), ast.Add),
    **dict.fromkeys(("sub", "sub_", "subtract", "subtract_"), ast.Sub),
    **dict.fromkeys(("mul", "mul_", "multiply", "multiply_"), ast.Mult),
    **dict.fromkeys(("div", "div_", "divide", "divide_", "true_divide"), ast.Div),
}
AXES = ((2, 0, 1), (1, 2, 0), (0, 3, 1, 2), (0, 2, 3, 1))  # channels first, or last
CHANNELS = ("1", "2", "3", "-1")
IMAGE = {"image", "img", "tensor", "pixels"}  # words in the names of one
PILLOW = ("PIL.ImageEnhance.", "PIL.ImageFilter.", "PIL.ImageChops.", "PIL.Image.merge")
MODES = ("RGB", "L", "RGBA")
NETWORKS = ("model", "net", "network")  # as people call theirs


def statements(source: Source, told: Collection[str]) -> list[str]:
    """Return what a handler does by the way that no answer covers, each with its place.

    Args:
        source: The handler.
        told: Remarks on it, whose lines are not mentioned again.
    """
    lines = {":".join(remark.split(":")[:2]) for remark in told}
    found: dict[str, str] = {}
    for home, parts in on_the_way(source).items():
        ways = (names_in_another_order, names_beside, before_the_network)
        nodes = [*itertools.chain.from_iterable(way(home) for way in ways)]
        for node in [*nodes, *changes(home, parts)]:
            if (place := home.at(node)) not in lines:
                found.setdefault(place, without_answer(home, node))
    return list(found.values())[:MOST]


def changes(source: Source, parts: Iterable[Function]) -> Iterator[ast.AST]:
    """Yield what changes images, tensors or scores in functions of a file."""
    known = {id(x) for x in ast.walk(found[2])} if (found := normalised_by_hand(source)) else set()
    for node in itertools.chain.from_iterable(map(parts_of, parts)):
        if id(node) in known:
            continue
        match node:
            case ast.BinOp() | ast.AugAssign():
                if is_calculation(source, node):
                    known |= {id(x) for x in ast.walk(node)}
                    yield node
            case ast.Subscript():
                if is_part(node):
                    yield node
            case ast.Call():
                if (operation := arithmetic(source, node)) is not None:
                    is_other = is_calculation(source, operation)
                else:
                    is_other = is_changing(source, node)
                if is_other:
                    known |= {id(x) for x in ast.walk(node)}
                    yield node


def arithmetic(source: Source, call: ast.Call) -> ast.BinOp | None:
    """Return what a method or function of torch or numpy calculates, as an operation; else None."""
    name = source.full_name(call.func)
    operator = ARITHMETIC.get(name.rpartition(".")[2] or getattr(call.func, "attr", ""))
    operands = [*call.args]
    if operator is None or call.keywords:
        return None
    if not name.startswith(LAYERS):
        if not isinstance(call.func, ast.Attribute) or call.func.attr == "add":  # as sets have
            return None
        operands.insert(0, call.func.value)
    return ast.BinOp(operands[0], operator(), operands[1]) if len(operands) == 2 else None


def on_the_way(source: Source) -> dict[Source, list[Function]]:
    """Return the functions between an image and its prediction, by the files that they are in.

    They are those of the handler, but for such as prepare it, and what these call: by its name in
    the same file, or in a module of the user's; of an object from there, all methods.
    """
    own = ((source, x) for x in functions_of(source.tree) if not ASIDE.fullmatch(x.name))
    waiting = deque([*own, *called_by(source, source.nodes, methods)])
    seen: set[int] = set()
    found: dict[Source, list[Function]] = {source: []}
    while waiting and len(seen) < MOST_FUNCTIONS:
        home, function = waiting.popleft()
        if id(function) not in seen:
            seen.add(id(function))
            found.setdefault(home, []).append(function)
            waiting += called_by(home, ast.walk(function), functions, methods)
    return found


Lookup = Callable[[Source], dict[str, list[Function]]]


def called_by(
    source: Source, nodes: Iterable[ast.AST], *lookups: Lookup
) -> Iterator[tuple[Source, Function]]:
    """Yield the user's own functions that nodes of a file call, as the lookups find them."""
    names: dict[tuple[str, str], None] = {}
    for call in calls_of(nodes):
        module, _, name = source.full_name(call.func).lstrip(".").rpartition(".")
        names[module.rpartition(".")[2], name or getattr(call.func, "attr", "")] = None
    for module, name in names:
        if (home := source.modules.get(module) if module else source) is not None:
            for lookup in lookups:
                yield from ((home, x) for x in lookup(home).get(name, []))


@functools.lru_cache(maxsize=64)
def functions(source: Source) -> dict[str, list[Function]]:
    """Return the functions of a file by their names, those that make networks aside."""
    found: dict[str, list[Function]] = {}
    for function in functions_of(source.tree):
        if not MAKING.fullmatch(function.name):
            found.setdefault(function.name, []).append(function)
    return found


@functools.lru_cache(maxsize=64)
def methods(source: Source) -> dict[str, list[Function]]:
    """Return the methods of each class by its name, but for networks and what prepares objects."""
    return {
        node.name: [x for x in functions_of(ast.Module([node], [])) if not ASIDE.fullmatch(x.name)]
        for node in source.classes()
        if not is_network(source, node, source.modules)
    }


def functions_of(node: ast.Module | ast.ClassDef) -> Iterator[Function]:
    """Yield the functions of a file or a class, and the methods of its classes, networks aside."""
    for part in node.body:
        if isinstance(part, ast.ClassDef):
            if not any(chain(base).endswith(("Module", "Dataset")) for base in part.bases):
                yield from functions_of(part)
        elif isinstance(part, FUNCTIONS):
            yield part


def parts_of(function: Function) -> Iterator[ast.AST]:
    """Yield the nodes of a function that may change an image or a prediction."""
    parts = list(ast.walk(function))
    networks = [x.lineno for x in parts if is_call_of(x, *NETWORKS)]
    behind = 0 if "post" in function.name else min(networks, default=function.end_lineno or 0)
    for part in parts:
        # A project scales masks to the size of the image, too.
        if not (is_call_of(part, "interpolate", "upsample") and part.lineno > behind):
            yield part


def is_call_of(node: ast.AST, *names: str) -> TypeGuard[ast.Call]:
    """Tell whether a node calls a function or an object of one of these names."""
    return isinstance(node, ast.Call) and chain(node.func).rpartition(".")[2] in names


def is_calculation(source: Source, node: ast.BinOp | ast.AugAssign) -> bool:
    """Tell whether arithmetic is about pixels or scores, as far as its names tell."""
    left, right = (
        (node.left, node.right) if isinstance(node, ast.BinOp) else (node.target, node.value)
    )
    is_sum = isinstance(node.op, ast.Add | ast.Sub)
    if not (is_sum or isinstance(node.op, ast.Mult | ast.Div | ast.Pow)):
        return False
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add):
        return False  # most are of lists
    for part in ast.walk(node):
        is_text = isinstance(part, ast.Constant) and isinstance(part.value, str)
        if is_text or isinstance(part, ast.JoinedStr | ast.List | ast.ListComp):
            return False
        name = chain(part).rpartition(".")[2] if isinstance(part, ast.Name | ast.Attribute) else ""
        if COUNTED.intersection(name.lower().split("_")) or OF_FILES.search(name):
            return False
    one, other = source.value_or(left, None), source.value_or(right, None)
    if one is not None and other is not None:
        return False
    if is_sum and isinstance(other, int | float) and (type(other) is int or abs(other) < 1e-3):
        return False  # of numbers that count, or against a division by zero
    constants = [x for x in (one, other) if isinstance(x, int | float)]
    is_scaling = isinstance(node.op, ast.Div) or any(x in (100, 1000) for x in constants)
    return not (is_scaling and any(x in SCALE for x in constants))


def is_part(node: ast.Subscript) -> bool:
    """Tell whether it takes a part of an array, or its parts in another order."""
    shown = ast.unparse(node.slice).strip("()")
    if shown in CHANNELS:  # of one image; of several, it is one of them
        words = chain(node.value).rpartition(".")[2].lower().split("_")
        return bool(IMAGE.intersection(words))
    if REVERSED.fullmatch(shown) or not isinstance(node.slice, ast.Tuple):
        return False
    *others, last = node.slice.elts
    # The last of an image's axes without transparency.
    parts = others if ast.unparse(last) == ":3" else node.slice.elts
    return any(
        (isinstance(x, ast.List) and all(isinstance(y, ast.Constant) for y in x.elts))
        or (isinstance(x, ast.Slice) and (x.lower or x.upper or x.step) is not None)
        for x in parts
    )


def is_changing(source: Source, call: ast.Call) -> bool:
    """Tell whether a call gives other pixels or scores than it takes."""
    name, method = source.full_name(call.func), getattr(call.func, "attr", "")
    if name.startswith(LAYERS) and name.rpartition(".")[2] in CHANGING:
        return True
    if name.startswith(PILLOW):
        return True
    if method == "convert":
        mode = source.value_or(argument(call, 0, "mode"), None)
        of_gray = isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value).endswith(
            ".convert('L')"
        )
        return isinstance(mode, str) and (mode not in MODES or (mode == "RGB" and of_gray))
    if method in ("transpose", "permute"):
        turned = any(re.search(r"(FLIP|ROTATE)_\w+$", chain(x)) for x in call.args)
        return turned or is_reordered(source, call)
    if method == "mean":
        return any(keyword.arg in ("keepdim", "keepdims") for keyword in call.keywords)
    if method == "train":
        return "model" in ast.unparse(call.func) and not call.args
    return method in METHODS and not name.startswith(("math.", "random."))


def is_reordered(source: Source, call: ast.Call) -> bool:
    """Tell whether axes get another order than channels first or channels last have."""
    values = [source.value_or(x, None) for x in call.args]
    axes = next((tuple(x) for x in values if isinstance(x, list | tuple)), tuple(values))
    return len(axes) > 2 and all(type(x) is int for x in axes) and axes not in AXES


def names_in_another_order(source: Source) -> Iterator[ast.AST]:
    """Yield where names are read from a file, and put into another order."""
    read: dict[str, ast.expr] = {
        node.targets[0].id: node.value
        for node in source.nodes
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for node in source.nodes:
        match node:
            case ast.Call(func=ast.Name(id="sorted" | "reversed"), args=[inner, *_]):
                pass
            case ast.Subscript(value=inner, slice=ast.Slice(step=ast.UnaryOp())):
                pass
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="sort" | "reverse")):
                inner = read.get(name, node)
            case _:
                continue
        if any(reads(source, part) for part in ast.walk(inner)):
            yield node


def names_beside(source: Source) -> Iterator[ast.AST]:
    """Yield where the name of a class is taken from another place than that of its index."""
    for node in source.nodes:
        match node:
            case ast.Subscript(value=names, slice=index):
                pass
            case ast.Call(func=ast.Attribute(value=names, attr="get"), args=[index, *_]):
                pass
            case _:
                continue
        if NAMES.fullmatch(chain(names)) and any(
            isinstance(x, ast.BinOp)
            and isinstance(x.op, ast.Add | ast.Sub)
            and isinstance(source.value_or(x.right, None), int)
            for x in ast.walk(index)
        ):
            yield node


def before_the_network(source: Source) -> Iterator[ast.AST]:
    """Yield where layers are put before a network, as in Sequential(Normalize(...), model)."""
    for node in source.nodes:
        if is_call_of(node, "Sequential"):
            names = [chain(x).rpartition(".")[2] for x in node.args]
            if any(name in NETWORKS for name in names[1:]):
                yield node


def reads(source: Source, node: ast.AST) -> bool:
    """Tell whether a call reads a file."""
    if not isinstance(node, ast.Call):
        return False
    method = getattr(node.func, "attr", "")
    is_open = source.full_name(node.func) == "open"
    return is_open or method in ("read", "read_text", "readlines", "splitlines")
