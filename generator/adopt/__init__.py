"""`ts-template adopt`: from a hand-written service to a project beside its files."""

from __future__ import annotations

import codecs
import json
import re
import shlex
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from rich.console import Console

from generator import catalogue, facts, options
from generator.adopt import checkout
from generator.adopt.findings import Finding, Findings
from generator.adopt.model_file import (
    definitions,
    extended,
    extracted,
    local_imports,
    names_bound,
    packages,
)
from generator.adopt.reading import Reading, find_service, read_service, settings
from generator.adopt.texts import refuse_texts
from generator.answers_file import ANSWERS_FILE, answers_in
from generator.errors import UserError
from generator.inspection.reading import GRAPHS
from generator.inspection.refusals import printable
from generator.inspection.report import as_text
from generator.layouts import convert, plain_name
from generator.new import put_files
from generator.rendering import render
from generator.source import read_source
from generator.tasks import only_asked_by_others, tasks

SERVICE = "service/"  # the folder of a project that has its modules
MODEL = f"{SERVICE}model.py"
# What is in a project only to be filled.
OWN_PACKAGES = "requirements-own.txt"
BLANK = {"weights/.gitkeep", "NOTES.md", OWN_PACKAGES}
# Packages by the names under which they are imported, where the two differ.
DISTRIBUTIONS = {
    "PIL": ("pillow",),
    "clip": ("openai-clip", "clip"),
    "cv2": ("opencv-python-headless", "opencv-python", "opencv-contrib-python"),
    "open_clip": ("open-clip-torch",),
    "skimage": ("scikit-image",),
    "sklearn": ("scikit-learn",),
    "yaml": ("pyyaml",),
}
NO_NETWORK = f"{MODEL} does not make your network yet. Let its build_model(num_classes) return {{}}"


def adopt(
    folder: Path,
    answers: Mapping[str, Any],
    *,
    ask: bool,
    handler: Path | None = None,
    weights: Path | None = None,
    labels: Path | None = None,
    label_order: str = "",
) -> None:
    """Read a hand-written service, and render a project for it into the same folder.

    None of the code there is run. Files of the user's that the project has as well, there or in its
    folder service/, are replaced if they are committed, so that git diff shows what changes; all
    others stay.

    Args:
        folder: The folder with the service.
        answers: Answers by question, which come before what the files tell.
        ask: Whether to ask what the files do not tell for sure; else it is assumed.
        handler: The handler, if the files do not tell which it is.
        weights: The checkpoint, likewise.
        labels: The names of the classes, likewise.
        label_order: What the keys of the label file are, as `inspect_labels` has it.

    Raises:
        UserError: There is nothing to adopt, or files would be lost; the message says what to do.
            The folder is as it was.
    """
    refuse_what_is_none(folder)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"1. Read {folder}; nothing in it is run")
    reading = read(
        folder, answers, handler=handler, weights=weights, labels=labels, label_order=label_order
    )
    refuse_to_lose(folder)
    print_lines(console, files_read(reading))

    console.print("2. Answers")
    print_lines(console, answers_read(reading))
    findings = reading.findings
    if not ask:
        refuse_to_guess(reading)

    console.print(f"3. Render into {folder}")
    with tempfile.TemporaryDirectory(prefix=".adopting-", dir=folder) as scratch:
        stage, backup = Path(scratch, "project"), Path(scratch, "backup")
        backup.mkdir()
        try:
            note = render(stage, findings.sure, proposals=findings.likely, ask=ask).note
        except ValueError as error:  # Copier's, for an answer that is not valid
            raise UserError(f"{error}; give another answer with -d") from error
        if note:
            console.print(f"   {note}")
        chosen = answers_in(stage)
        if not ask:
            print_lines(console, assumed(reading, chosen))
        bring_weights(reading, stage)
        filled = fill(reading, stage)
        network = filled.network
        checkout.refuse_to_overwrite(folder, [*filled.names, *filled.removed])
        before = settings(folder / "config.properties")
        left = set(packages_of(folder)) - {*packages_of(stage), *packages_of(stage, OWN_PACKAGES)}
        checkout.move_into(stage, filled.names, filled.removed, folder, backup)

    console.print("4. Your files")
    print_lines(console, outcomes(reading, filled.replaced, network, before, left))
    for line in filled.added:
        console.print(f"   {OWN_PACKAGES}: {printable(line)}, which {MODEL} imports")
    print_next(console, reading, network)


def refuse_what_is_none(folder: Path) -> None:
    """Raise UserError for what is no folder, or is a project already."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    if (folder / ANSWERS_FILE).exists():
        raise UserError(f"{folder} is a project already ({ANSWERS_FILE}). Run there: copier update")


def read(
    folder: Path,
    answers: Mapping[str, Any],
    *,
    handler: Path | None = None,
    weights: Path | None = None,
    labels: Path | None = None,
    label_order: str = "",
) -> Reading:
    """Read a hand-written service, with the arguments of `adopt`.

    Raises:
        UserError: There is nothing to adopt.
    """
    try:
        service = find_service(folder, handler=handler, weights=weights, labels=labels)
        service.label_order = label_order
        refuse_texts(service)
        return read_service(service, answers)
    except RecursionError:
        raise UserError(f"the Python code in {folder} is nested too deeply to be read") from None


def refuse_to_lose(folder: Path) -> None:
    """Raise UserError if files of the user's that every project has are not committed."""
    static = set(checkout.static_names()) - {MODEL} - BLANK
    checkout.refuse_to_overwrite(folder, static | set(beside_service(static)))


def print_lines(console: Console, lines: Iterator[str]) -> None:
    """Print lines, indented; names from the files cannot steer the terminal."""
    for line in lines:
        console.print(f"   {printable(line)}")


# ------------------------------------------------------------------------------- what was read


def files_read(reading: Reading) -> Iterator[str]:
    """Yield what each file is."""
    service, inspection = reading.service, reading.inspection
    base = f", derived from TorchServe's {service.base}" if service.base else ""
    yield f"handler: {service.handler_name}{base}"
    if service.command is not None:
        yield f"archive command: {service.command.where}"
    if service.model_file is not None:
        yield f"model file: {service.model_file.name}"
    if reading.network is not None and reading.network.own is not None:
        own = reading.network.own
        yield f"network: {own.name} in {own.where}"
    if inspection is not None:
        what = f", {inspection.what}" if inspection.what else ""
        yield f"checkpoint: {service.name(inspection.path)}{what}"
    if service.labels is not None:
        yield f"labels: {service.name(service.labels)}"


def answers_read(reading: Reading) -> Iterator[str]:
    """Yield the proposed answers, with where they were read; what contradicts; what is open."""
    findings = reading.findings
    order = list(options.questions())
    found = sorted(findings.found.items(), key=lambda item: order.index(item[0]))
    width = max((len(pair(*item)) for item in found), default=0)
    for name, finding in found:
        doubt = "" if finding.sure else f"; likely{f': {finding.why}' if finding.why else ''}"
        yield f"{pair(name, finding):{min(width, 40)}}  {', '.join(finding.places)}{doubt}"
    for text in findings.contradictions:
        yield f"CONTRADICTION {text}"
    for name, why in findings.unknown.items():
        yield f"NOT KNOWN {name}: {why}"
    for text in findings.dropped:
        yield f"NOT CARRIED OVER {text}"
    for text in findings.remarks:
        yield f"NOTE {text}"


def pair(name: str, finding: Finding) -> str:
    """Return a question and its answer."""
    return f"{name}: {as_text(finding.answer)}"


# What to add to the command where nothing answers a question that decides the predictions. Without
# an answer the default would be a guess.
NEEDED = {
    "architecture": "--weights FILE, the checkpoint, or -d architecture=NAME",
    "num_classes": "--weights FILE, the checkpoint, or -d num_classes=N",
    "color_mode": "-d color_mode=RGB, or L",
    "transforms": "-d transforms=custom -d image_size=N -d 'mean=[...]' -d 'std=[...]', as in "
    "training",
    "image_size": "-d image_size=N",
}


def refuse_to_guess(reading: Reading) -> None:
    """Raise UserError where nothing tells what decides the predictions."""
    findings = reading.findings
    if findings.answer("architecture") == "custom" or reading.inspection is None:
        findings.unknown.setdefault("num_classes", "neither the code nor a checkpoint tells")
    lines = [
        f"\n    {name}: {printable(findings.unknown[name])}. Add {advice}"
        for name, advice in NEEDED.items()
        if name in findings.unknown and findings.answer(name) is None
    ]
    if (inspection := reading.inspection) is not None:
        others = only_asked_by_others(tasks().get(str(findings.answer("task"))))
        lines += [
            f"\n    {name}: {inspection.path} tells {printable(why)}"
            for name, why in inspection.must_answer.items()
            if name not in others
            and findings.answer(name) is None
            and findings.answer("architecture") != "custom"
        ]
    if lines:
        raise UserError(
            f"{reading.service.handler_name} and the files beside it do not tell all, and "
            f"--defaults would guess (without it, you are asked):{''.join(lines)}"
        )


def unsure(findings: Findings, names: Iterable[str]) -> dict[str, str]:
    """Return those of some questions that decide the predictions and have no certain answer.

    Each has the reason why a proposed answer is not certain; empty where none is proposed.
    """
    found, deciding = findings.found, facts.deciding_questions()
    return {
        name: found[name].why if name in found else ""
        for name in names
        if name in deciding and (name not in found or not found[name].sure)
    }


def assumed(reading: Reading, chosen: Mapping[str, Any]) -> Iterator[str]:
    """Yield the answers that decide the predictions and are not certain, and how to change them."""
    size = catalogue.load()[chosen["architecture"].partition("/")[0]].input_size
    names = unsure(reading.findings, chosen)
    for name, why in names.items():
        own = f" ({size} pixels)" if name == "image_size" and not chosen[name] else ""
        reason = f": {why}" if why else ""
        yield f"{name}: {as_text(chosen[name]) or 'empty'}{own} (assumed{reason})"
    if names:
        yield (
            "If one is wrong, commit what is there now, and: copier update --defaults "
            "--vcs-ref=:current: -d NAME=ANSWER"
        )


# ------------------------------------------------------------------------------- what is rendered


@dataclass(frozen=True)
class Filled:
    """What a rendered project has of a service, and what it does to the folder of that.

    Attributes:
        network: what became of service/model.py.
        added: the lines that its own requirements gained.
        names: the files that differ from what is there.
        removed: the user's files that go, and those that replace them.
        replaced: these, and those of the same name.
    """

    network: NetworkFile
    added: list[str]
    names: list[str]
    removed: dict[str, str]
    replaced: dict[str, str]


def fill(reading: Reading, stage: Path) -> Filled:
    """Put the labels, the network and what it imports into a project, but for the checkpoint.

    Nothing of the user's code lies beside the project there: what runs is the project's own.

    Args:
        reading: What was read.
        stage: The rendered project, to which the user's folder stays as it is.
    """
    folder, chosen = reading.service.root, answers_in(stage)
    has_labels = bring_labels(reading, stage, chosen)
    merge_ignored(folder / ".gitignore", stage / ".gitignore")
    network = write_network(reading, stage, chosen)
    added = add_packages(folder, stage, network)
    kept = beginnings(chosen, network, has_labels) - ({OWN_PACKAGES} if added else set())
    names = files_to_move(folder, stage, kept)
    removed = files_to_remove(folder, stage, network)
    replaced = {name: name for name in names if (folder / name).exists()}
    return Filled(network, added, names, removed, replaced | removed)


def bring_labels(reading: Reading, stage: Path, chosen: Mapping[str, Any]) -> bool:
    """Put the labels into the project; return whether there are some."""
    service = reading.service
    labels = service.labels
    if chosen.get("label_format", "none") == "none":
        return False
    with tempfile.TemporaryDirectory() as scratch:
        if service.names and chosen["label_format"] == "list":
            labels = Path(scratch, "names.json")
            names = json.dumps(service.names, ensure_ascii=False, indent=2)
            labels.write_text(f"{names}\n", encoding="utf-8")
        put_files(stage, None, labels)
        return labels is not None and labels.is_file()


def bring_weights(reading: Reading, stage: Path) -> None:
    """Put the checkpoint into the project, unless it is in its place."""
    service = reading.service
    weights = service.weights
    if weights is None or is_in_place(weights, service.root):
        return
    if reading.inspection is not None and reading.inspection.layouts:
        convert(weights, stage / "weights" / plain_name(weights))
    else:
        put_files(stage, weights, None)


def is_in_place(weights: Path, folder: Path) -> bool:
    """Tell whether a checkpoint is where a project has it."""
    return weights.resolve().parent == (folder / "weights").resolve()


def merge_ignored(theirs: Path, ours: Path) -> None:
    """Keep what the user's git ignores: a `git add -A` would bring it in."""
    if theirs.is_file():
        text = theirs.read_text(encoding="utf-8", errors="surrogateescape").rstrip("\n")
        known = set(text.split("\n"))
        lines = ours.read_text(encoding="utf-8").rstrip("\n").split("\n")
        more = [line for line in lines if line not in known]
        merged = "\n".join([text, *more]).lstrip("\n") + "\n"
        ours.write_text(merged, encoding="utf-8", errors="surrogateescape")


def packages_of(folder: Path, name: str = "requirements.txt") -> dict[str, str]:
    """Return the lines of a requirements file by the packages, as pip compares their names."""
    path = folder / name
    if not path.is_file():
        return {}
    data = path.read_bytes()
    # PowerShell's `pip freeze > requirements.txt` writes UTF-16.
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"
    lines = data.decode(encoding, errors="replace").splitlines()
    requirement = re.compile(r"\ufeff?\s*([A-Za-z0-9][\w.-]*)\s*([][<>=!~;@#(]|$)")
    found = ((requirement.match(line), line) for line in lines)
    return {canonicalize_name(match[1]): line.strip() for match, line in found if match}


def add_packages(folder: Path, stage: Path, network: NetworkFile) -> list[str]:
    """Put what the user's network imports into the project's requirements; return the lines."""
    if not network.written or not (stage / MODEL).is_file():
        return []
    sources = [stage / MODEL, *(folder / name for name in network.modules)]
    needed = {name for path in sources for name in packages(read_source(path, folder).tree, folder)}
    theirs, has = packages_of(folder), {*packages_of(stage), *packages_of(folder, OWN_PACKAGES)}
    lines = []
    for name in sorted(needed - {"service"}):
        known = {canonicalize_name(name), *DISTRIBUTIONS.get(name, ())}
        if not known & has:
            wanted = next((x for x in theirs if x in known), None)
            lines.append(theirs[wanted] if wanted else DISTRIBUTIONS.get(name, (known.pop(),))[0])
    if lines:
        own = folder / OWN_PACKAGES
        text = (own if own.is_file() else stage / OWN_PACKAGES).read_text(encoding="utf-8")
        (stage / OWN_PACKAGES).write_text(
            "\n".join([text.rstrip("\n"), *lines, ""]), encoding="utf-8"
        )
    return lines


@dataclass(frozen=True)
class NetworkFile:
    """What became of service/model.py.

    Attributes:
        written: whether it has the user's network.
        remaining: what the user has to do about it; "" for nothing.
        modules: the user's own modules that it imports.
    """

    written: bool = False
    remaining: str = ""
    modules: tuple[str, ...] = ()


def write_network(reading: Reading, stage: Path, chosen: Mapping[str, Any]) -> NetworkFile:
    """Write the user's network into service/model.py, where its making is certain."""
    service, own = reading.service, reading.own
    if chosen["architecture"] != "custom":
        return NetworkFile(written=True)
    theirs = [path for path in (service.root / MODEL, service.root / "model.py") if path.is_file()]
    for path in theirs:
        source = read_source(path, service.root)
        if "build_model" in names_bound(source.tree.body):
            (stage / MODEL).write_text(source.text, encoding="utf-8")
            modules = local_imports(source.tree.body, service.root)
            return NetworkFile(written=True, modules=tuple(modules))
    channels = 3 if chosen["color_mode"] == "RGB" else 1
    output = str(facts.tasks()[chosen["task"]]["output"])
    what = "the network that the checkpoint is of"
    if own is not None and own.call:
        is_whole = own.source.path.resolve() in {path.resolve() for path in theirs}
        try:
            text = (extended if is_whole else extracted)(own, channels, output)
            (stage / MODEL).write_text(text, encoding="utf-8")
            body = own.source.tree.body if is_whole else definitions(own.source, own.name)
            return NetworkFile(written=True, modules=tuple(local_imports(body, service.root)))
        except LookupError as error:
            what = f"a {own.name} ({own.where}), which cannot be copied: {error.args[0]}"
    elif reading.inspection is not None and reading.inspection.kind in GRAPHS:
        if not theirs:
            return NetworkFile()  # the checkpoint brings the network; the tests have another
        what = "any network with these classes, for the tests; the checkpoint brings its own"
    elif own is not None:
        what = f"a {own.name} ({own.where}); {own.why}"
    elif reading.network is not None:
        what = f"what {reading.network.where} makes, with all that is done to it there"
    return NetworkFile(remaining=NO_NETWORK.format(what))


def beginnings(chosen: Mapping[str, Any], network: NetworkFile, has_labels: bool) -> set[str]:
    """Return the files that the project has only to be filled, where the user's own may be."""
    names = set(BLANK)
    if not network.written:
        names.add(MODEL)
    if not has_labels and (file := facts.labels()[chosen.get("label_format", "none")]["file"]):
        names.add(file)
    return names


def beside_service(names: Iterable[str]) -> dict[str, str]:
    """Return where files of the service would lie without its folder, and the files.

    archive.py refuses such files, for one cannot tell which of the two is meant.
    """
    inside = (name for name in names if name.startswith(SERVICE) and name.endswith(".py"))
    found = {name.removeprefix(SERVICE): name for name in inside}
    return {name: file for name, file in found.items() if name != "__init__.py"}


def files_to_remove(folder: Path, stage: Path, network: NetworkFile) -> dict[str, str]:
    """Return the user's files that files of the service replace, and these.

    Args:
        folder: The user's folder.
        stage: The rendered project.
        network: What became of service/model.py.
    """
    rendered = (path.relative_to(stage).as_posix() for path in stage.rglob("*.py"))
    kept = {*network.modules, *(() if network.written else ("model.py",))}
    return {
        name: file
        for name, file in beside_service(rendered).items()
        if (folder / name).is_file() and name not in kept
    }


def files_to_move(folder: Path, stage: Path, kept: set[str]) -> list[str]:
    """Return the files of the project that differ from what is there.

    Args:
        folder: The user's folder.
        stage: The rendered project.
        kept: Files that stay as they are if they are there.
    """
    names = []
    for path in sorted(stage.rglob("*")):
        name = path.relative_to(stage).as_posix()
        target = folder / name
        if not path.is_file() or "__pycache__" in path.parts:
            continue
        if not target.exists() or (name not in kept and not same(path, target)):
            names.append(name)
    return names


def same(one: Path, other: Path) -> bool:
    """Tell whether two files have the same content."""
    return (
        other.is_file()
        and one.stat().st_size == other.stat().st_size
        and one.read_bytes() == other.read_bytes()
    )


# ------------------------------------------------------------------------------- what comes of it


def outcomes(
    reading: Reading,
    replaced: Mapping[str, str],
    network: NetworkFile,
    before: Mapping[int, tuple[str, str]],
    packages: set[str],
) -> Iterator[str]:
    """Yield what becomes of the user's files.

    Args:
        reading: What was read.
        replaced: The user's files that are replaced, and those that replace them.
        network: What became of service/model.py.
        before: The settings of the user's config.properties, by line.
        packages: What the user's requirements.txt had, and the project's has not.
    """
    service = reading.service
    for name, by in replaced.items():
        yield f"replaced: {name}" + (f", by {by}" if by != name else "")
    after = dict(settings(service.root / "config.properties").values())
    for number, (key, value) in before.items():
        if after.get(key) != value:
            now = f"now {key}={after[key]}" if key in after else "no longer set"
            yield f"config.properties:{number} had {key}={value}: {now}"
    if "requirements.txt" in replaced and packages:
        names = ", ".join(sorted(packages))
        yield f"requirements.txt had {names}: what you still need goes into requirements-own.txt"
    if service.handler is not None and service.handler.name not in replaced:
        yield f"no longer needed: {service.handler.name} ({SERVICE}handler.py does its work)"
    model_file = service.model_file
    if model_file is not None and network.written and model_file.name not in (*replaced, MODEL):
        why = f"{MODEL} has its class" if reading.own else f"{MODEL} makes the network"
        yield f"no longer needed: {model_file.name} ({why})"
    for command in service.commands:
        yield f"no longer needed: the command at {command.where} (python archive.py)"
    weights = service.weights
    if weights is not None and not is_in_place(weights, service.root):
        inspection = reading.inspection
        if inspection is not None and inspection.layouts:
            yield f"converted: {service.name(weights)} to weights/{plain_name(weights)}"
        else:
            yield f"copied: {service.name(weights)} to weights/{weights.name}"
    labels = service.labels
    if (
        labels is not None
        and labels.is_file()
        and not (service.root / labels.name).samefile(labels)
    ):
        yield f"copied: {service.name(labels)}"


def print_next(console: Console, reading: Reading, network: NetworkFile) -> None:
    """Print what is left to do, and the next commands."""
    service = reading.service
    folder = service.root
    if network.remaining:
        console.print(f"\n{printable(network.remaining)}")
    if reading.findings.dropped:
        console.print(
            "\nWhat is NOT CARRIED OVER changes predictions. How images are prepared belongs into "
            "service/preprocessing.py, what is returned into service/response.py; name those that "
            "you edit, and no update changes them: copier update --defaults --vcs-ref=:current: "
            "-d 'own_files=[preprocessing.py]'"
        )
    for name in beside_service(checkout.static_names()):
        if (folder / name).is_file():
            console.print(f"\narchive.py refuses {name} beside {SERVICE}{name}: move or rename it")
    archive = ["python", "archive.py"]
    if network.modules:
        console.print(f"\n{MODEL} imports modules of yours: --extra-files brings them along")
        archive += ["--extra-files", *network.modules]
    if service.command is not None and service.command.version:
        archive += ["--version", service.command.version]
    others = [x for x in (folder / "weights").iterdir() if not x.name.startswith(".")]
    if service.weights is not None and len(others) > 1:
        archive += ["--weights", f"weights/{service.weights.name}"]
    diff = "git add -N . && git diff" if checkout.is_checkout(folder) else "git init"
    console.print(
        f"\nNext:\n\n    cd {shlex.quote(str(folder))}\n    {diff}\n"
        "    pip install -r requirements.txt    # in a virtual environment\n"
        f"    {shlex.join(archive)}\n"
        "    python predict.py IMAGE\n"
    )
