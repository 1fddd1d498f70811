"""Reads a hand-written service: which file is what, and which answers follow. Runs none of it."""

from __future__ import annotations

import ast
import contextlib
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from generator import catalogue, facts
from generator.adopt import images, responses
from generator.adopt.commands import Command, files_below, find_commands
from generator.adopt.findings import GIVEN, Findings
from generator.adopt.networks import (
    LOGITS,
    Maker,
    Network,
    find_network,
    imported_modules,
    is_network,
)
from generator.adopt.statements import statements
from generator.errors import UserError
from generator.inspection import Inspection, detectors, inspect_file
from generator.inspection.class_names import agreed
from generator.inspection.reading import GRAPHS, read
from generator.labels import LabelError, inspect_labels
from generator.shared.properties import PropertiesError, read_properties
from generator.source import Source, chain, read_source, relative
from generator.tasks import Task, serving, tasks

BASES = ("BaseHandler", "VisionHandler")  # TorchServe's; the tasks know of more
WEB = {"flask", "fastapi", "starlette", "sanic", "tornado", "bottle", "aiohttp", "litserve"}
NETWORKS = {"torch", "torchvision", "timm", "onnxruntime"}  # packages that run them
CHECKPOINTS = re.compile(r"[\w.-]+\.(pth|pt|ckpt|bin|safetensors|onnx|pt2)")
MAX_MODULES = 30


@dataclass
class Service:
    """The files of a hand-written service.

    Attributes:
        root: the folder.
        command: what makes the archive, if that was found.
        commands: all that make an archive of the same files, if there are several.
        handler: the handler, if it is a file.
        base: the class of TorchServe's that it is derived from; "" if none.
        node: its class; None if it has only functions.
        model_file: what the archive has as --model-file.
        modules: the user's own modules that these import.
        weights: the checkpoint.
        labels: the label file, or the folder of folders.
        names: names of classes that stand in the code or in the checkpoint, or in a label file that
            a project would not read.
        label_order: what the keys of the label file are, as `inspect_labels` has it.
    """

    root: Path
    command: Command | None = None
    commands: list[Command] = field(default_factory=list)
    handler: Source | None = None
    base: str = ""
    node: ast.ClassDef | None = None
    model_file: Source | None = None
    modules: dict[str, Source] = field(default_factory=dict)
    weights: Path | None = None
    labels: Path | None = None
    names: list[str] = field(default_factory=list)
    label_order: str = ""

    def name(self, path: Path) -> str:
        """Return how people know a file."""
        return relative(path, self.root)

    @property
    def handler_name(self) -> str:
        """The handler's file, or TorchServe's name of its own."""
        named = self.command.handler if self.command else ""
        return self.handler.name if self.handler else f"TorchServe's {named}"

    @property
    def is_inherited(self) -> bool:
        """Whether what the handler returns is made by the class that it is derived from."""
        body = self.node.body if self.node else []
        own = {x.name for x in body if isinstance(x, ast.FunctionDef)}
        return bool(self.base) and not own & {"postprocess", "handle"}


# ------------------------------------------------------------ finding the files


def find_service(
    root: Path, *, handler: Path | None, weights: Path | None, labels: Path | None
) -> Service:
    """Find out which file is what.

    Args:
        root: The folder.
        handler: The handler, if it is told.
        weights: The checkpoint, if it is told.
        labels: The names of the classes, if they are told.

    Raises:
        UserError: There is no handler of images, or there are several.
    """
    for told in filter(None, (handler, weights, labels)):
        if not told.exists():
            raise UserError(f"there is no file {told}")
    commands = choose_commands(find_commands(root), root, handler, weights)
    command = commands[0] if commands else None
    service = Service(root, command, commands, weights=weights, labels=labels)
    if handler is None and command is not None and command.handler:
        handler = in_folder(command.handler, service)
        if handler is None and command.handler not in {x.built_in for x in tasks().values()}:
            if "." not in command.handler:
                raise UserError(
                    f"{command.where} makes an archive with TorchServe's {command.handler}, which "
                    f"is for no task of this template (they are {', '.join(tasks())})"
                )
            raise UserError(
                f"{command.where} names the handler {command.handler}, and {root} has no such "
                f"file. Name it: --handler FILE"
            )
    elif handler is None:
        handler = only_handler(root)
    if handler is not None:
        service.handler = read_source(handler, root)
        service.base, service.node = handler_class(service.handler)
    if command is not None and command.model_file:
        path = in_folder(command.model_file, service)
        if path is not None:
            service.model_file = read_source(path, root)
    service.modules = own_modules(service)
    return service


def choose_commands(
    commands: list[Command], root: Path, handler: Path | None, weights: Path | None
) -> list[Command]:
    """Return the commands that make an archive of this handler and this checkpoint.

    Raises:
        UserError: There are several, of other files.
    """
    for told, name in ((handler, "handler"), (weights, "serialized_file")):
        if told is not None:
            shared = {x: tail(getattr(x, name), told) for x in commands}
            longest = max(shared.values(), default=0)
            if longest or name == "handler":
                commands = [x for x in commands if longest and shared[x] == longest]
    if len({x.files for x in commands}) > 1:  # those of checkpoints that are here count
        files = {path.name for path in files_below(root)}
        here = [x for x in commands if x.serialized_file.rpartition("/")[2] in files]
        commands = here or commands
    if len({x.files for x in commands}) > 1:
        shown = "".join(
            f"\n    {x.where}: {x.model_name}, handler {x.handler}, {x.serialized_file}"
            for x in commands
        )
        raise UserError(
            f"{root} has several commands that make archives; a project serves one model. Choose "
            f"with --weights FILE or --handler FILE:{shown}"
        )
    return commands


def in_folder(name: str, service: Service) -> Path | None:
    """Return a file that a command or a handler names, if it is in the folder.

    It is looked for as the command would find it, and then by its name alone.
    """
    root = service.root
    places = [root, *([service.command.folder] if service.command else [])]
    parts = Path(name.replace("\\", "/")).parts
    if not parts:
        return None
    if ".." not in parts and not Path(name).is_absolute():
        for place in places:
            if (path := place.joinpath(*parts)).is_file():
                return path
    shared = {path: tail(name, path) for path in files_below(root)}
    longest = max(shared.values(), default=0)
    found = [path for path, length in shared.items() if longest and length == longest]
    return found[0] if len(found) == 1 else None


def tail(name: str, path: Path) -> int:
    """Return how many parts at its end a path has in common with one that a command names."""
    pairs = zip(
        reversed(Path(name.replace("\\", "/")).parts), reversed(path.resolve().parts), strict=False
    )
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def only_handler(root: Path) -> Path | None:
    """Return the one Python file in a folder that is a handler of images.

    Raises:
        UserError: There is none, or there are several.
    """
    sources = []
    for path in files_below(root):
        if path.suffix == ".py":
            with contextlib.suppress(UserError):
                sources.append(read_source(path, root))
    found = [x.path for x in sources if is_handler(x)]
    for is_it in (is_app, imports_web):
        found = found or [x.path for x in sources if is_it(x)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UserError(
            f"{root} has no handler of TorchServe's kind (a class derived from BaseHandler or such "
            "as ImageClassifier, or a function handle(data, context)), no app of Flask, FastAPI or "
            "SageMaker, and no torch-model-archiver command. Name the file that answers requests "
            "with --handler FILE, or start from the checkpoint: "
            "ts-template new PROJECT --weights FILE"
        )
    names = ", ".join(relative(path, root) for path in found)
    raise UserError(f"{root} has several handlers ({names}); choose with --handler FILE")


def is_handler(source: Source) -> bool:
    """Tell whether a file is a handler of images."""
    try:
        return bool(handler_class(source)[0]) or has_entry(source)
    except UserError:
        return False


def imports_web(source: Source) -> bool:
    """Tell whether a file answers HTTP requests with a web framework."""
    return any(full.partition(".")[0] in WEB for full in source.imported.values())


def is_app(source: Source) -> bool:
    """Tell whether a file answers requests with a network: an app, or SageMaker's functions."""
    functions = {x.name for x in source.tree.body if isinstance(x, ast.FunctionDef)}
    uses = {full.partition(".")[0] for full in source.imported.values()}
    return "model_fn" in functions or (imports_web(source) and bool(uses & NETWORKS))


def has_entry(source: Source) -> bool:
    """Tell whether a file has a function handle(data, context)."""
    return any(
        isinstance(x, ast.FunctionDef) and x.name == "handle" and len(x.args.args) == 2
        for x in source.tree.body
    )


def handler_class(source: Source) -> tuple[str, ast.ClassDef | None]:
    """Return TorchServe's class that the handler's is derived from, and the handler's.

    Raises:
        UserError: TorchServe's class is for no task of this template.
    """
    known = {*BASES, *(task.handler_class for task in tasks().values() if task.handler_class)}
    local: dict[str, str] = {}
    candidates: list[tuple[str, ast.ClassDef]] = []
    for node in source.classes():
        for base in node.bases:
            name = source.full_name(base)
            kind = local.get(name) or (name.rpartition(".")[2] if name.startswith("ts.") else "")
            if kind in known:
                local[node.name] = kind
                candidates.append((kind, node))
            elif kind:
                raise UserError(
                    f"{source.at(node)}: {node.name} is derived from TorchServe's {kind}, which is "
                    f"for no task of this template (they are {', '.join(tasks())})"
                )
    if candidates:
        return candidates[-1]
    for node in source.classes():
        methods = {x.name for x in node.body if isinstance(x, ast.FunctionDef)}
        if "initialize" in methods and methods & {"handle", "preprocess", "inference"}:
            return "", node
    return "", None


def own_modules(service: Service) -> dict[str, Source]:
    """Return the user's own modules that the handler and the model file import, by name."""
    modules: dict[str, Source] = {}
    waiting = [x for x in (service.handler, service.model_file) if x is not None]
    while waiting and len(modules) < MAX_MODULES:
        source = waiting.pop()
        for full in source.imported.values():
            for name in {full.lstrip(".").partition(".")[0], full.lstrip(".").rpartition(".")[0]}:
                last = name.rpartition(".")[2]
                for folder in (source.path.parent, service.root):
                    path = folder / f"{name.replace('.', '/')}.py"
                    if last and last not in modules and path.is_file():
                        modules[last] = read_source(path, service.root)
                        waiting.append(modules[last])
    if service.model_file is not None:
        modules.setdefault(service.model_file.path.stem, service.model_file)
    for source in filter(None, (service.handler, *modules.values())):
        source.modules.update(modules)
    return modules


# ------------------------------------------------------------ the answers


@dataclass
class Reading:
    """What a service is.

    Attributes:
        service: its files.
        findings: the proposed answers.
        inspection: of the checkpoint, if there is one.
        network: what the code says of the network.
    """

    service: Service
    findings: Findings
    inspection: Inspection | None = None
    network: Network | None = None

    @property
    def task(self) -> Task:
        """What the network is for, as far as that is known: else the first of all tasks."""
        known = tasks()
        return known.get(str(self.findings.answer("task")), next(iter(known.values())))

    @property
    def own(self) -> Maker | None:
        """The class of the user's that is served, if the network is their own."""
        is_own = self.findings.answer("architecture") == "custom"
        return self.network.own if is_own and self.network is not None else None


def read_service(service: Service, given: Mapping[str, Any]) -> Reading:
    """Read the files of a service, and propose answers.

    Args:
        service: The files.
        given: Answers that come before all others.

    Raises:
        UserError: A file is not what it should be; the message says which.
    """
    findings = Findings()
    for question, answer in given.items():
        findings.propose(question, answer, *GIVEN)
    reading = Reading(service, findings)
    if service.weights is None:
        service.weights = find_weights(service, findings)
    reading.network, why = find_network(service.handler, service.model_file, service.modules)
    findings.remarks += why
    if service.weights is not None:
        reading.inspection = inspect_file(service.weights)
        network = reading.network
        is_named = network is not None and (network.architecture or network.attribute)
        findings.remarks += [
            f"{service.name(service.weights)}: {note}"
            for note in reading.inspection.notes
            if not (is_named and "timm's" in note)  # the code tells which of them it is
        ]
    refuse_other_networks(reading)
    add_task(reading)
    add_names(reading)
    add_network(reading)
    add_meaning_of_one(reading)
    add_labels(reading)
    add_images(reading)
    add_response(reading)
    add_settings(reading)
    return reading


def refuse_other_networks(reading: Reading) -> None:
    """Raise UserError for a checkpoint of a network that no task takes."""
    found = reading.inspection
    is_open = not reading.findings.answer("task")
    if found is not None and found.network_kind and not serving(found.network_kind) and is_open:
        raise UserError(
            f"{reading.service.name(found.path)} is of a {found.network_kind}, which no task of "
            f"this template takes; if that is wrong, name the task: -d task={' or '.join(tasks())}"
        )


def add_task(reading: Reading) -> None:
    """Propose what the network is for."""
    findings = reading.findings
    for task, place, sure, why in signs_of_tasks(reading):
        findings.propose("task", task.value, place, sure=sure, why=why)
    if findings.answer("task") is None:
        likely = reading.inspection.likely.get("task") if reading.inspection is not None else None
        possible = serving(kind_of_network(reading))
        findings.propose(
            "task",
            likely or possible[0].value,
            reading.service.handler_name,
            sure=False,
            why="neither the code nor the weights tell",
        )


def signs_of_tasks(reading: Reading) -> Iterator[tuple[Task, str, bool, str]]:
    """Yield the tasks that something speaks for: the place, whether it is sure, and why not."""
    service, inspection, network = reading.service, reading.inspection, reading.network
    possible = serving(kind_of_network(reading))
    nodes = handler_nodes(reading)
    weights = service.name(inspection.path) if inspection is not None else ""
    for task in possible:
        if inspection is not None and inspection.task == task.value:
            yield task, weights, True, ""
        if len(possible) == 1 and network is not None and network.architecture:
            yield task, network.where, True, ""
        if service.handler is None:
            if service.command is not None and service.command.handler == task.built_in:
                yield task, service.handler_name, True, ""
            continue
        if service.base == task.handler_class and service.is_inherited:
            yield task, f"TorchServe's {service.base}", True, ""
        if found := task.evidence_in_code(service.handler, nodes):
            why = "" if found.sure else f"{found.what} speaks for it"
            yield task, found.where, found.sure, why
        if network is not None and network.output in task.endings:
            yield task, network.output_at, True, ""
    if inspection is not None and inspection.evidence:
        yield tasks()[inspection.likely["task"]], weights, False, inspection.evidence


def kind_of_network(reading: Reading) -> str | None:
    """Return the kind of the network, from the checkpoint or the code; None if neither tells."""
    inspection, network = reading.inspection, reading.network
    if inspection is not None and inspection.network_kind:
        return inspection.network_kind
    arch = catalogue.load().get(network.architecture) if network is not None else None
    return arch.kinds[0] if arch is not None else None


def handler_nodes(reading: Reading) -> list[ast.AST]:
    """Return the nodes of the handler, those of networks' classes aside."""
    service = reading.service
    if service.handler is None:
        return []
    inner = {
        id(node)
        for definition in service.handler.classes()
        if is_network(service.handler, definition, service.modules)
        for node in ast.walk(definition)
    }
    return [node for node in service.handler.nodes if id(node) not in inner]


def find_weights(service: Service, findings: Findings) -> Path | None:
    """Return the checkpoint that is served, as far as the files name it."""
    command = service.command
    loaded = responses.named_files(service.handler, CHECKPOINTS) if service.handler else {}
    if command is not None and command.serialized_file:
        name = command.serialized_file.replace("\\", "/").rpartition("/")[2]
        others = [x for x in loaded if x != name and x not in command.extra_files]
        if others and name not in loaded:
            findings.contradictions.append(
                f"checkpoint: {name} in {command.where}, {others[0]} in {loaded[others[0]]}"
            )
        loaded = {command.serialized_file: command.where}
    found = {path for name in loaded if (path := in_folder(name, service)) is not None}
    if not found and not loaded:
        found = {x for x in files_below(service.root) if CHECKPOINTS.fullmatch(x.name)}
    if len(found) == 1:
        (path,) = found
        if not loaded:
            findings.remarks.append(f"{service.name(path)}: no file names it; it is the only one")
        return path
    if found:
        names = ", ".join(sorted(service.name(path) for path in found))
        raise UserError(f"which checkpoint is served, {names}? Name it with --weights FILE")
    named = ", ".join(f"{name} ({where})" for name, where in loaded.items())
    findings.unknown["checkpoint"] = (
        f"{named} is not in {service.root}; with --weights FILE it would tell more"
        if named
        else "there is none; with --weights FILE it would tell more"
    )
    return None


def add_names(reading: Reading) -> None:
    """Propose what the project and the model are called."""
    service, findings = reading.service, reading.findings
    for command in service.commands:
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", command.model_name):
            findings.propose("model_name", command.model_name, command.where)
        elif command.model_name:
            findings.unknown["model_name"] = (
                f"{command.model_name} ({command.where}) has other characters than A-Z a-z 0-9 _ -"
            )
    for name in ("README.md", "readme.md", "README"):
        path = service.root / name
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")[:10_000]
            for number, line in enumerate(text.split("\n"), 1):
                title = re.match(r"#\s+(\w[^\n#*`\[<]*)$", line[:100].rstrip())
                if title and title[1].isprintable():
                    findings.propose(
                        "project_name", title[1], f"{name}:{number}", sure=False, why="a heading"
                    )
                    return
    folder = service.root.resolve().name.replace("-", " ").replace("_", " ").title().strip()
    if folder:
        findings.propose("project_name", folder, "the folder's name", sure=False, why="a guess")


# ------------------------------------------------------------ the network


def add_network(reading: Reading) -> None:
    """Propose the answers about the network and its weights."""
    findings, inspection, network = reading.findings, reading.inspection, reading.network
    is_graph = inspection is not None and inspection.kind in GRAPHS
    architecture = ""
    if inspection is not None:
        architecture = str(inspection.answers.get("architecture", ""))
    place = reading.service.name(reading.service.weights) if reading.service.weights else ""
    if network is not None and not is_graph:
        architecture = with_code(reading, architecture, place)
    elif architecture:
        findings.propose("architecture", architecture, place)
    if is_graph and not findings.answer("architecture"):
        named = network.architecture if network is not None and not network.changes else ""
        findings.propose("architecture", named or "custom", place, sure=not named)
    if not findings.answer("architecture"):
        add_unknown_network(reading)
    add_checkpoint(reading, place)
    add_colours(reading, place)
    add_classes(reading, place)
    if network is not None:
        add_code(reading, network)


def with_code(reading: Reading, architecture: str, place: str) -> str:
    """Propose the architecture where code makes the network; return what is proposed."""
    findings, network = reading.findings, reading.network
    assert network is not None
    is_plain = bool(network.architecture or network.attribute) and not network.changes
    known = architecture not in ("", "custom")
    if not is_plain:
        for change in network.changes:
            findings.remarks.append(
                f"{change} changes the network in a way that its weights do not show, and no "
                "answer has"
            )
        if known and network.own is not None and not network.changes:
            findings.remarks.append(
                f"{place} holds torchvision's or timm's {architecture}, and {network.own.name} "
                f"({network.own.where}) does more than call it: it is served as your own"
            )
        findings.propose("architecture", "custom", network.where)
        return "custom"
    inspection = reading.inspection
    named = network.architecture
    if named.startswith("timm/") and inspection is not None:
        base = named[5:].partition(".")[0]
        if base in inspection.timm or base == inspection.architecture:
            findings.propose("architecture", named, network.where)
            findings.propose("architecture", named, place)
            return named
    if architecture:
        findings.propose("architecture", architecture, place)
    if named:
        findings.propose("architecture", named, network.where)
    return architecture or named


def add_unknown_network(reading: Reading) -> None:
    """Record why the architecture is not known."""
    findings, inspection = reading.findings, reading.inspection
    if inspection is None:
        findings.unknown["architecture"] = "neither the code nor a checkpoint tells"
    elif inspection.timm:
        findings.unknown["architecture"] = inspection.open_questions["architecture"]
    else:
        findings.propose("architecture", "custom", reading.service.name(inspection.path))


def add_checkpoint(reading: Reading, place: str) -> None:
    """Propose how the weights are saved, and what else the checkpoint tells."""
    findings, inspection, network = reading.findings, reading.inspection, reading.network
    if inspection is None:
        if network is not None and network.pretrained and not named_checkpoint(reading.service):
            arch = catalogue.load().get(network.architecture)
            default = str(arch.weights if arch is not None else "").rpartition(".")[2]
            same = network.version in ("DEFAULT", default)
            doubt = "" if same else f"the project takes {default}, the code {network.version}"
            findings.propose("weights", "pretrained", network.where, sure=same, why=doubt)
        return
    architecture = str(findings.answer("architecture", ""))
    answers = dict(inspection.answers)
    is_torchvision = architecture not in ("custom", "timm", "") and "/" not in architecture
    if not is_torchvision:
        for name in ("head", "head_units"):
            answers.pop(name, None)
    elif network is not None and network.head and network.head == inspection.head:
        # The code shows what the weights do not: activations and dropouts.
        answers = {x: answers[x] for x in answers if x not in ("head_layers", "head_place")}
        answers["head"] = network.head
        if inspection.head_units:
            answers["head_units"] = inspection.head_units
    if architecture == "custom" and inspection.kind not in GRAPHS:
        inner = prefix_in_class(inspection, network)
        if inspection.architecture and inner is not None:
            answers.pop("state_dict_prefix", None)
            if answers.get("weights") in ("wrapped", "state_dict"):
                answers["weights"] = "wrapped" if inner else "state_dict"
            if inner:
                answers["state_dict_prefix"] = inner
    if network is not None and network.architecture and inspection.training.detector:
        # The code builds the detector, whatever it was built with in training.
        answers = {name: x for name, x in answers.items() if name not in detectors.QUESTIONS}
    for name, answer in answers.items():
        if name not in ("task", "architecture", "num_classes", "transforms", "resize_mode"):
            is_open = name in inspection.open_questions
            shown = is_open and name == "head" and network is not None and network.head
            findings.propose(
                name,
                answer,
                place,
                sure=not is_open or bool(shown),
                why=inspection.open_questions.get(name, ""),
            )
    for name in ("checkpoint_key", "state_dict_prefix"):
        if name in inspection.open_questions:
            findings.unknown[name] = inspection.open_questions[name]


def add_meaning_of_one(reading: Reading) -> None:
    """Propose what a network with one output means, where the task knows such an output."""
    findings = reading.findings
    found = findings.found.get("num_classes")
    answers = reading.task.answers_for(1)
    if found is None or found.answer != 1 or found.places == GIVEN or "model_output" not in answers:
        return
    findings.drop("num_classes")
    findings.propose("num_classes", answers["num_classes"], found.places[0])
    place, why = found.places[0], "one output"
    findings.propose("model_output", answers["model_output"], place, sure=False, why=why)


def prefix_in_class(inspection: Inspection, network: Network | None) -> str | None:
    """Return what comes before the names of the user's class, for a known network inside of it."""
    if network is None or network.own is None:
        return None
    *before, _ = inspection.prefix.split(".") if inspection.prefix else [""]
    if not before:
        return ""
    wrappers = [part for part in before if part in ("module", "_orig_mod")]
    return "".join(f"{part}." for part in wrappers)


def named_checkpoint(service: Service) -> bool:
    """Tell whether the files name a checkpoint."""
    in_code = service.handler and responses.named_files(service.handler, CHECKPOINTS)
    return bool(in_code or (service.command and service.command.serialized_file))


def add_classes(reading: Reading, place: str) -> None:
    """Propose the number of classes."""
    findings, inspection, network = reading.findings, reading.inspection, reading.network
    rows = rows_of(reading, network.last) if network is not None else 0
    likely = inspection.likely.get("num_classes") if inspection is not None else None
    if rows and network is not None:
        findings.propose("num_classes", rows, f"{network.last} in {place}")
    elif inspection is not None and inspection.classes:
        findings.propose("num_classes", inspection.classes, place)
    elif likely:
        findings.propose("num_classes", likely, place, sure=False, why="its last matrix")
    if network is not None and network.classes:
        findings.propose("num_classes", network.classes, network.classes_at)
    elif network is not None and findings.answer("weights") == "pretrained":
        arch = catalogue.load()[network.architecture]
        findings.propose("num_classes", arch.classes, network.where)


def add_colours(reading: Reading, place: str) -> None:
    """Propose the channels of the image that a network of one's own takes."""
    findings, inspection, network = reading.findings, reading.inspection, reading.network
    if inspection is not None and (mode := inspection.likely.get("color_mode")):
        findings.propose("color_mode", mode, place, sure=False, why="its first convolution")
    channels = network.channels if network is not None else 0
    modes = {3: "RGB", 1: "L"}
    if network is not None and channels in modes:
        findings.propose("color_mode", modes[channels], network.channels_at)
    elif network is not None and channels:
        findings.unknown["color_mode"] = (
            f"the network takes {channels} channels ({network.channels_at}), a project 1 or 3"
        )


def rows_of(reading: Reading, layer: str) -> int:
    """Return how many rows the last matrix of a layer has in the checkpoint; 0 if there is none."""
    inspection = reading.inspection
    if inspection is None or not layer or inspection.kind in GRAPHS or not inspection.places:
        return 0
    states = read(inspection.path).states
    state = states.get(inspection.places[0].key, {})
    shapes = [
        x.shape
        for name, x in state.items()
        if f".{layer}." in f".{name}" and name.endswith("weight") and len(x.shape) == 2
    ]
    return shapes[-1][0] if shapes else 0


def add_code(reading: Reading, network: Network) -> None:
    """Propose what the code that makes the network says besides."""
    findings, inspection = reading.findings, reading.inspection
    architecture = str(findings.answer("architecture", ""))
    arch = catalogue.load().get(architecture)
    if arch is not None and arch.params is not None:
        if arch.transform_input and network.pretrained is not None:
            findings.propose("transform_input", network.pretrained, network.where)
        found = findings.answer("head")
        if arch.detection:
            add_detector(reading, network, arch)
        alike = {network.head, found} <= {"linear", "dropout"}  # without training
        if network.head and (inspection is None or (found and not alike)):
            findings.propose("head", network.head, network.where)
    add_ending(reading, network)
    if reading.own is not None and network.pretrained:
        findings.remarks.append(
            f"{network.where}: the class fetches pretrained weights each time it is made; the "
            "checkpoint replaces them, so make it without (weights=None)"
        )


def add_detector(reading: Reading, network: Network, arch: catalogue.Arch) -> None:
    """Propose what the code that makes a detector says of its sizes and limits."""
    findings, detection = reading.findings, arch.detection or {}
    for name, (answer, where) in network.answers.items():
        if name == "keypoint_names" and answer == detection["keypoints"]:
            continue  # as many as those that have names by default
        size = answer[-1] if name == "image_size" and isinstance(answer, (list, tuple)) else answer
        findings.propose(name, list(size) if isinstance(size, tuple) else size, where)
    places = [where for name, (_, where) in network.answers.items() if name in PREPARED]
    if places:
        own = {"mean": list(arch.mean), "std": list(arch.std)}
        findings.propose("transforms", "custom", places[0])
        for name, answer in own.items():
            if findings.answer(name) is None:
                findings.propose(name, answer, f"torchvision's {network.architecture}")
    elif reading.inspection is None or "transforms" not in reading.inspection.answers:
        findings.propose("transforms", "pretrained", network.where)
    if detection["coco_eps"] and network.pretrained is not None:
        # What the code computes with, whatever training did.
        findings.propose("coco_eps", network.pretrained, network.where)


# What is answered of how a detector scales and normalises images.
PREPARED = ("image_size", "max_size", "mean", "std")


def add_ending(reading: Reading, network: Network) -> None:
    """Propose what the network returns, or tell that the project does not end it so."""
    findings, inspection = reading.findings, reading.inspection
    task = reading.task
    is_own = findings.answer("architecture") == "custom" or (
        inspection is not None and inspection.kind in GRAPHS
    )
    answer = LOGITS if network.output == LOGITS else task.endings.get(network.output, "")
    if answer and is_own:
        findings.propose("model_output", answer, network.output_at)
    elif network.output in task.endings and answer == "probabilities":
        findings.remarks.append(
            f"{network.output_at}: the class ends in {network.output}; the project's network does "
            "not, and the project computes it"
        )
    elif network.output and not answer:
        findings.remarks.append(
            f"{network.output_at}: the class ends in {network.output}, which is not what "
            f"task={task.value} computes: its probabilities are other ones"
        )


# ------------------------------------------------------------ the labels


def add_labels(reading: Reading) -> None:
    """Propose how the names of the classes are written down."""
    service, findings = reading.service, reading.findings
    if service.labels is None:
        service.labels = named_labels(service)
    if service.labels is not None:
        add_label_file(reading, service.labels, "")
        return
    sources = [x for x in (service.handler, *service.modules.values()) if x is not None]
    for source in sources:
        if written := responses.written_names(source):
            service.names, where = written
            findings.propose("label_format", "list", where)
            findings.propose("num_classes", len(service.names), where)
            return
    own = service.root / "index_to_name.json"
    if own.is_file():
        service.labels = own
        archived = service.command is None or service.command.where
        why = "" if archived is True else f"the command at {archived} does not name it"
        add_label_file(reading, own, why)
        return
    if reading.inspection is not None and service.weights is not None:
        found = agreed(reading.inspection.class_names, findings.answer("num_classes"))
        if len(found) == 1:
            where = f"{service.name(service.weights)}, {found[0].place}"
            service.names = list(found[0].names)
            findings.propose("label_format", "list", where)
            findings.propose("num_classes", len(service.names), where)
            return
    why = "it has no names of classes"
    findings.propose("label_format", "none", service.handler_name, sure=False, why=why)


def add_label_file(reading: Reading, path: Path, doubt: str) -> None:
    """Propose what a label file says; with a doubt, it is asked."""
    findings = reading.findings
    service, inspection = reading.service, reading.inspection
    own = inspection.class_names if inspection is not None else ()
    labels = inspect_labels(path, findings.answer("num_classes"), own, service.label_order)
    place = service.name(path)
    answers = labels.answers
    if labels.is_written:
        service.names = labels.names
        answers = {"label_format": "list"}
    for name, answer in answers.items():
        findings.propose(name, answer, place, sure=not doubt, why=doubt)
    findings.remarks += [f"{place}: {note}" for note in labels.notes]
    classes = findings.answer("num_classes")
    if classes and (advice := reading.task.advice_on_labels(labels.names, classes)):
        findings.remarks.append(f"{place}: {advice}")
    findings.propose("num_classes", len(labels.names), place, sure=not doubt, why=doubt)


def named_labels(service: Service) -> Path | None:
    """Return the label file that the files name."""
    extra = service.command.extra_files if service.command else ()
    named = [x for x in extra if responses.LABEL_FILE.fullmatch(x.rpartition("/")[2])]
    if service.handler is not None:
        named += responses.named_files(service.handler, responses.LABEL_FILE)
    for path in filter(None, (in_folder(name, service) for name in named)):
        try:
            inspect_labels(path)
        except LabelError:
            if path.name != "index_to_name.json":  # some other data of theirs
                continue
        return path
    return None


# ------------------------------------------------------------ images and predictions


def add_images(reading: Reading) -> None:
    """Propose how images are prepared."""
    service, findings = reading.service, reading.findings
    if "preprocessing" in reading.task.facts:
        add_whole_images(reading)
        return
    found = preparations(service)
    add_modes(service, found, findings)
    inspection = reading.inspection
    size = inspection.image_size if inspection is not None else None
    if not found:
        findings.unknown["transforms"] = f"{service.handler_name} has no transforms that are known"
    elif len(found) == 1 and found[0].is_empty and found[0].unclear:
        findings.unknown["transforms"] = f"{service.handler_name} prepares images by hand"
        findings.dropped += found[0].unclear
    elif len(found) > 1:
        places = ", ".join(x.where for x in found)
        findings.unknown["transforms"] = f"there are several that differ: {places}"
    else:
        add_preparation(reading, found[0], size)
    for source in filter(None, (service.handler, *service.modules.values())):
        if place := images.blue_first(source):
            findings.dropped.append(
                f"{place}: the network gets images in the order blue, green, red, a project's in "
                "red, green, blue; let preprocess in service/preprocessing.py end in .flip(0)"
            )
    if inspection is not None and size and findings.answer("transforms") in ("custom", "to_tensor"):
        findings.propose("image_size", size, service.name(inspection.path))
        if resize_mode := inspection.answers.get("resize_mode"):
            findings.propose("resize_mode", resize_mode, service.name(inspection.path))


def add_whole_images(reading: Reading) -> None:
    """Tell what a handler does to images that the network of its task prepares itself."""
    service, findings = reading.service, reading.findings
    found = images.find_preparations(service.handler) if service.handler is not None else []
    for preparation in found:
        work = "scales" if preparation.resize or preparation.crop else "normalises"
        if preparation.resize or preparation.crop or preparation.mean:
            findings.dropped.append(
                f"{preparation.where}: the handler {work} images before the network does; the "
                "project gives it all pixels, from 0 to 1"
            )
        findings.dropped += preparation.unclear
    add_modes(service, found, findings)
    if findings.answer("architecture") == "custom":
        findings.propose("transforms", "to_tensor", service.handler_name)
    if service.handler is not None and (place := images.blue_first(service.handler)):
        findings.dropped.append(
            f"{place}: the network gets images in the order blue, green, red, a project's in "
            "red, green, blue; let preprocess in service/preprocessing.py end in .flip(0)"
        )


def add_modes(service: Service, found: list[images.Preparation], findings: Findings) -> None:
    """Propose whether images are in colour, as the code converts or normalises them."""
    modes = images.converted_modes(service.handler) if service.handler else {}
    for preparation in found:
        if preparation.gray == 1:
            modes.setdefault("L", preparation.where)
    if len(modes) == 1:
        ((mode, where),) = modes.items()
        findings.propose("color_mode", mode, where)
    if len(found) == 1 and not findings.answer("color_mode"):
        if len(found[0].mean) == 3:
            findings.propose("color_mode", "RGB", found[0].where)
        elif len(found[0].mean) == 1:
            why = "one mean, one std"
            findings.propose("color_mode", "L", found[0].where, sure=False, why=why)


def add_preparation(reading: Reading, found: images.Preparation, size: int | None) -> None:
    """Propose what one preparation of images says.

    Args:
        reading: What is known.
        found: The preparation.
        size: Of the image in pixels, if the weights depend on it.
    """
    findings = reading.findings
    answers, unclear = images.answers_of(
        found,
        str(findings.answer("architecture", "")),
        str(findings.answer("color_mode", "RGB")),
        reading.task,
    )
    why = "no answer covers all that the code does" if unclear else ""
    if found.weights == "timm":
        why = "taken for what timm prepares for this network by itself"
    for name, answer in answers.items():
        findings.propose(name, answer, found.where, sure=not why, why=why)
    findings.dropped += unclear
    if not answers:
        findings.unknown["transforms"] = f"those at {found.where} are no answer"
    is_open = answers.get("transforms") in ("custom", "to_tensor") and "image_size" not in answers
    if is_open and not size:
        findings.unknown["image_size"] = (
            f"{found.where} makes images of {found.resize[0]} x {found.resize[1]} pixels, a "
            "project squares"
            if len(set(found.resize)) > 1
            else "the handler takes images of any size"
        )


def preparations(service: Service) -> list[images.Preparation]:
    """Return the ways in which the service prepares images."""
    handler = service.handler
    if handler is None:
        return [images.built_in(service.command.handler if service.command else "")]
    found = images.find_preparations(handler)
    if found:
        return found
    replaced = "self.image_processing" in handler.bindings
    is_complete = service.base not in ("", *BASES)
    if is_complete and not replaced and uses_inherited_images(service):
        return [images.built_in(service.base)]
    imported = [*imported_modules(handler, service.modules)]
    for source in imported:
        found += images.find_preparations(source)
    by_hand = images.work_by_hand(handler)
    if not found and (by_hand is None or by_hand.is_empty):
        elsewhere = [images.work_by_hand(source) for source in imported]
        found = [x for x in elsewhere if x is not None and not x.is_empty]
    return found or ([by_hand] if by_hand is not None else [])


def uses_inherited_images(service: Service) -> bool:
    """Tell whether a handler prepares images as TorchServe's that it is derived from does."""
    assert service.handler is not None
    body = service.node.body if service.node else []
    own = [x for x in body if isinstance(x, ast.FunctionDef) and x.name in ("preprocess", "handle")]
    parents = {ast.unparse(base) for base in service.node.bases} if service.node else set()
    used = {chain(x) for x in service.handler.nodes if isinstance(x, ast.Attribute)}
    supers = any(
        isinstance(x, ast.Attribute) and x.attr == "preprocess" and isinstance(x.value, ast.Call)
        for x in service.handler.nodes
    )
    calls_parent = supers or bool(used & {f"{parent}.preprocess" for parent in parents})
    return not own or calls_parent or "self.image_processing" in used


def add_response(reading: Reading) -> None:
    """Propose what the service returns."""
    service, findings, task = reading.service, reading.findings, reading.task
    if service.handler is None:
        found = task.built_in_response
    else:
        found = task.read_response(
            service.handler, handler_nodes(reading), service.base, service.is_inherited
        )
    if found.form:
        findings.propose(
            "response_format",
            found.form,
            found.where,
            sure=found.sure,
            why="" if found.sure else "the nearest form",
        )
    for name, (answer, where) in found.answers.items():
        findings.propose(name, answer, where)
    if not found.sure:
        forms = facts.responses(task.value)
        chosen = findings.answer("response_format", next(iter(forms), ""))
        meaning = forms[chosen]["title"] if chosen in forms else "of its own"
        findings.remarks.append(
            f"{found.where or service.handler_name}: predictions will have the project's form, not "
            f"that of your handler; {chosen} is {meaning}"
        )
    findings.dropped += found.remarks
    if service.handler is not None:
        findings.dropped += responses.oddities(service.handler)
        answered = [where for _, where in found.answers.values()]
        findings.dropped += statements(service.handler, [*findings.dropped, *answered])


def add_settings(reading: Reading) -> None:
    """Propose what config.properties says."""
    path = reading.service.root / "config.properties"
    for number, (key, value) in settings(path).items():
        if key == "max_request_size" and value.isdigit():
            megabytes = -(-int(value) // 1_000_000)
            reading.findings.propose("max_request_mb", megabytes, f"config.properties:{number}")


def settings(path: Path) -> dict[int, tuple[str, str]]:
    """Return what a file of TorchServe's settings says, by line."""
    if not path.is_file():
        return {}
    try:
        return {line: (key, value) for line, key, value in read_properties(path.read_bytes())}
    except PropertiesError as error:
        raise UserError(f"{path}:{error.line}: TorchServe refuses this line: {error}") from error
