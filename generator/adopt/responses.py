"""Reads what a handler does that no task knows of, and where it has the names of the classes."""

from __future__ import annotations

import ast
import re
from typing import Any

from generator.source import Source, chain

NAMES = re.compile(
    r"(self\.)?_?(\w*_)?(class(es)?|labels?|categories|names|tags?|idx|index)(_\w*)?", re.IGNORECASE
)
FLIPS = ("fliplr", "flipud", "hflip", "vflip", "rot90")
WRAPPED = (
    "for that, take architecture=custom, and let its network in service/model.py do it in forward"
)
TAKEN = (
    'a project takes the image file itself, its base64 text, or {"data": "<base64>"}: change the '
    "clients"
)
TEMPERATURE = re.compile(r"temperature", re.IGNORECASE)
LABEL_FILE = re.compile(r"[\w.-]+\.(json|txt|csv|tsv)")


def oddities(source: Source) -> list[str]:
    """Return what a handler does with the network that a project does not."""
    notes = []
    calls = [x for x in source.nodes if isinstance(x, ast.Call)]
    forwards = [x for x in calls if chain(x.func) in ("self.model", "self.model.forward")]
    if len(forwards) > 1:
        notes.append(
            f"{source.at(forwards[1])}: the handler calls the network {len(forwards)} times, a "
            f"project once; {WRAPPED}"
        )
    notes += requests(source, calls)
    metrics = [x for x in calls if re.search(r"(^|\.)metrics\.\w+$", chain(x.func))]
    if metrics:
        notes.append(f"{source.at(metrics[0])}: the handler's own metrics are not in the project")
    notes += changed_scores(source, calls, forwards)
    for call in calls:
        name = chain(call.func).rpartition(".")[2]
        if name == "quantize_dynamic":
            notes.append(
                f"{source.at(call)}: the handler quantizes the network; the project does not"
            )
        elif name == "half":
            notes.append(
                f"{source.at(call)}: the handler computes in half precision, a project does not"
            )
        elif source.full_name(call.func).partition(".")[0] == "ttach":
            notes.append(f"{source.at(call)}: no answer covers {ast.unparse(call)[:60]}; {WRAPPED}")
        elif name in FLIPS:
            notes.append(f"{source.at(call)}: no answer covers {ast.unparse(call)[:60]}")
    return notes


def changed_scores(source: Source, calls: list[ast.Call], forwards: list[ast.Call]) -> list[str]:
    """Return what a handler does to the scores before its softmax, once, with the place.

    Args:
        source: The handler.
        calls: All of its calls.
        forwards: Those of the network.
    """
    for node in source.nodes:
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Div | ast.Mult):
            continue
        # Of several results, it is their mean, which is told already.
        is_of_network = len(forwards) == 1 and forwards[0] in ast.walk(node.left)
        if is_of_network or TEMPERATURE.search(ast.unparse(node.right)):
            shown = ast.unparse(node)[:60]
            return [f"{source.at(node)}: the scores are changed behind the network: {shown}"]
    for call in calls:
        scores = call.args[0] if call.args else call.func
        is_softmax = chain(call.func).rpartition(".")[2] == "softmax"
        if is_softmax and any(isinstance(x, ast.BinOp) or is_negated(x) for x in ast.walk(scores)):
            shown = ast.unparse(call)[:60]
            return [f"{source.at(call)}: the scores are changed before softmax: {shown}"]
    return []


def is_negated(node: ast.AST) -> bool:
    """Tell whether a node is -x of what is no number."""
    match node:
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return not isinstance(operand, ast.Constant)
    return False


def requests(source: Source, calls: list[ast.Call]) -> list[str]:
    """Return what a handler takes that is no image file, each with its place."""
    notes = []
    for call in calls:
        name = source.full_name(call.func)
        shown = ast.unparse(call)
        is_of_file = any(word in shown for word in ("read_text", "open(", ".read()"))
        last = name.rpartition(".")[2] or str(getattr(call.func, "attr", ""))
        is_dict = last in ("values", "items") and "'body'" in shown
        if (name == "json.loads" and not is_of_file) or last == "get_json" or is_dict:
            notes.append(f"{source.at(call)}: the handler reads JSON, {shown[:40]}; {TAKEN}")
        elif name in ("requests.get", "urllib.request.urlopen", "httpx.get"):
            notes.append(f"{source.at(call)}: the handler fetches what a request names; {TAKEN}")
    for node in source.nodes:
        match node:
            case ast.Subscript(
                value=ast.Subscript(slice=ast.Constant(value="body" | "data")),
                slice=ast.Constant(value=str() as key),
            ) if key != "data":
                shown = ast.unparse(node)[:40]
                notes.append(f"{source.at(node)}: the handler reads JSON, {shown}; {TAKEN}")
            case ast.Attribute(value=ast.Name(id="request"), attr="json"):
                notes.append(f"{source.at(node)}: the handler reads JSON, request.json; {TAKEN}")
    return notes[:1]


def written_names(source: Source) -> tuple[list[str], str] | None:
    """Return names of classes that stand in the code, and where; None if there are none.

    Of several, such as the code uses and calls names of classes; then {0: "cat", 1: "dog"}.
    """
    loads = [x for x in source.nodes if isinstance(getattr(x, "ctx", None), ast.Load)]
    used = {chain(x).rpartition(".")[2] for x in loads}
    found: list[tuple[int, list[str], str]] = []
    for name, values in source.bindings.items():
        if len(values) != 1 or values[0] is None:
            continue
        is_used, is_named = name.rpartition(".")[2] in used, NAMES.fullmatch(name) is not None
        value = source.value_or(values[0], None)
        if (is_named or (is_used and isinstance(value, dict))) and (labels := as_names(value)):
            found.append((2 * is_used + is_named, labels, source.at(values[0])))
    if not found:
        return None
    _, labels, where = max(found, key=lambda entry: entry[0])
    return labels, where


def as_names(value: Any) -> list[str]:
    """Return a list of names, or {0: "cat", 1: "dog"}, in the order of the classes; else []."""
    if isinstance(value, dict):
        keys = {str(key): x for key, x in value.items()}
        order = [str(index) for index in range(len(value))]
        value = [keys[key] for key in order] if keys.keys() == set(order) else []
    if isinstance(value, (list, tuple)) and len(value) > 1:
        return list(value) if all(isinstance(x, str) and x.strip() for x in value) else []
    return []


def named_files(source: Source, pattern: re.Pattern[str]) -> dict[str, str]:
    """Return the files that texts in the code name, with places."""
    names: dict[str, str] = {}
    for node in source.nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            last = node.value.replace("\\", "/").rpartition("/")[2]
            if pattern.fullmatch(last):
                names.setdefault(last, source.at(node))
    return names
