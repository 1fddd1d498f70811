"""Reads which network a handler serves: one of torchvision's or timm's, or a class of one's own."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from generator import catalogue
from generator.source import Numbers, Source, argument, calls_of, chain

MODELS = "torchvision.models."
MODULES = ("torch.nn.Module", "torch.nn.modules.Module", "torch.nn.Sequential")
LIGHTNING = re.compile(r"(pytorch_)?lightning(\.\w+)*\.LightningModule$")

# What a network may end in, beyond its last layer.
ENDINGS = {
    "log_softmax": "log_softmax", "LogSoftmax": "log_softmax",
    "softmax": "softmax", "Softmax": "softmax",
    "sigmoid": "sigmoid", "Sigmoid": "sigmoid",
}  # fmt: skip
LOGITS = "logits"  # for those that end in none of these

NO_VALUES: Mapping[str, Any] = MappingProxyType({})
MAX_CALLS = 10  # that make networks, in a handler
NO_NETWORKS = ("ts.", "torch.autograd.")  # packages whose classes may have a forward, too
MAX_BASES = 10  # of classes that are derived from each other

# The layers of the `head` answers. Layers after them that only change the scores are ENDINGS.
HEADS = {
    ("Linear",): "linear",
    ("Conv2d",): "linear",
    ("Dropout", "Linear"): "dropout",
    ("Linear", "ReLU", "Linear"): "mlp",
    ("Linear", "ReLU", "Dropout", "Linear"): "mlp_dropout",
}
NUMBER_OF_CLASSES = re.compile(r"(num|n|nb|nr)_?(of_)?(classes|class|labels|outputs)|classes")


@dataclass(frozen=True)
class Maker:
    """A class or a function of the user's own that makes the network.

    Attributes:
        name: of the class or the function.
        source: the file.
        node: its definition.
        call: Python that makes the network, with the variable num_classes; "" if that is not sure.
        why: why not.
    """

    name: str
    source: Source = field(repr=False)
    node: ast.ClassDef | ast.FunctionDef = field(repr=False)
    call: str = ""
    why: str = ""

    @property
    def where(self) -> str:
        """file:line."""
        return self.source.at(self.node)


@dataclass(frozen=True)
class Network:
    """What the code says of the network that is served.

    Attributes:
        where: file:line of what makes it.
        architecture: an answer to that question, for a network of torchvision or timm; "" if the
            code does not name one.
        pretrained: whether it is made with pretrained weights; None if it is made elsewhere.
        version: of these weights, as in IMAGENET1K_V1 or DEFAULT; "" if the code does not tell.
        classes: how many; 0 if the code does not tell.
        classes_at: where it stands.
        channels: of the image; 0 if the code does not tell.
        channels_at: where it stands.
        head: an answer to that question, if the code replaces the last layer by such a one.
        output: what it ends in, a value of ENDINGS or LOGITS; "" if it is not clear.
        output_at: where it stands.
        changes: what differs from the architecture as torchvision or timm makes it, each with its
            place.
        own: what makes it in the user's own code, if that is a class or a function.
        attribute: where in the class the architecture is, if the class does nothing but call it.
        last: the attribute of the class that is its last linear layer.
        answers: on a detector, that its construction gives, each with its place.
    """

    where: str
    architecture: str = ""
    pretrained: bool | None = None
    version: str = ""
    classes: int = 0
    classes_at: str = ""
    channels: int = 0
    channels_at: str = ""
    head: str = ""
    output: str = ""
    output_at: str = ""
    changes: tuple[str, ...] = ()
    own: Maker | None = None
    attribute: str = ""
    last: str = ""
    answers: Mapping[str, tuple[Any, str]] = field(default_factory=dict)

    def unlike(self, change: str) -> Network:
        """Return the same with one more change."""
        return replace(self, changes=(*self.changes, change))


# ------------------------------------------------------------ finding the network


def find_network(
    handler: Source | None, model_file: Source | None, modules: Mapping[str, Source]
) -> tuple[Network | None, list[str]]:
    """Return the network that is served, and why not if it is not clear.

    Args:
        handler: The handler, if it is a file.
        model_file: What the archive has as --model-file: a file with one class, which TorchServe
            makes without arguments.
        modules: The user's own modules that these import, by name.
    """
    made: dict[str, Network] = {}
    loaded: set[str] = set()
    for source, scope, caller in scopes(handler, modules):
        for call in outer_calls(source, modules, scope):
            network = read_call(source, call, modules)
            if caller is not None and isinstance(scope, ast.FunctionDef):
                network = made_by_function(network, source, scope, caller)
            elif caller is None and network.own is None:
                network = replace(network, own=maker_around(source, call))
            what = network.architecture or f"class {network.own and network.own.name}"
            made.setdefault(what, network)
            if gets_weights(source, targets_of(source, call)):
                loaded.add(what)
    if len(made) > 1 and len(loaded) == 1:  # the others are losses, preparations and the like
        (what,) = loaded
        made = {what: made[what]}
    if len(made) > 1:
        places = ", ".join(f"{what} ({network.where})" for what, network in made.items())
        return None, [f"the handler makes several networks: {places}"]
    if made:
        return next(iter(made.values())), []
    if model_file is None:
        return None, []
    classes = list(model_file.classes())
    networks = [node for node in classes if is_network(model_file, node, modules)]
    if len(networks) == 1 and len(classes) == 1:
        return read_class(model_file, networks[0], None, modules), []
    names = ", ".join(node.name for node in networks) or "none"
    return None, [
        f"{model_file.name} has {len(classes)} classes (networks: {names}); TorchServe takes one"
    ]


def gets_weights(source: Source, roots: set[str]) -> bool:
    """Tell whether weights are loaded into what some names stand for."""
    return any(
        isinstance(node, ast.Call) and chain(node.func) in {f"{x}.load_state_dict" for x in roots}
        for node in source.nodes
    )


Made = tuple[Source, ast.Call]
Scope = tuple[Source, ast.Module | ast.FunctionDef, Made | None]


def scopes(handler: Source | None, modules: Mapping[str, Source]) -> Iterator[Scope]:
    """Yield where a network may be made: the handler, and functions of modules that it calls."""
    if handler is None:
        return
    yield handler, handler.tree, None
    for imported in imported_modules(handler, modules):
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        at_once = [x for x in imported.tree.body if not isinstance(x, kinds)]
        yield imported, ast.Module(at_once, []), None
    seen: set[int] = set()
    for node in handler.nodes:
        if not isinstance(node, ast.Call):
            continue
        module, _, name = handler.full_name(node.func).lstrip(".").rpartition(".")
        home = modules.get(module.rpartition(".")[2])
        if home is None:
            continue
        for function in home.tree.body:
            is_it = isinstance(function, ast.FunctionDef) and function.name == name
            if is_it and id(function) not in seen and len(seen) < MAX_CALLS:
                seen.add(id(function))
                assert isinstance(function, ast.FunctionDef)
                yield home, function, (handler, node)


def imported_modules(handler: Source, modules: Mapping[str, Source]) -> Iterator[Source]:
    """Yield the user's modules that a handler imports: they may make the network at once."""
    names = {part for full in handler.imported.values() for part in full.split(".")}
    yield from (home for name, home in modules.items() if name in names and home is not handler)


def made_by_function(
    network: Network, source: Source, function: ast.FunctionDef, made: Made
) -> Network:
    """Add the function that makes a network, where the class alone would not do."""
    if network.own is not None and network.own.call and not network.changes:
        return network
    return replace(network, own=with_call(Maker(function.name, source, function), made))


def maker_around(source: Source, call: ast.Call) -> Maker | None:
    """Return the function around a call that returns the network, if it is sure how it is called.

    It makes what weights do not show, such as a head with further layers.
    """
    roots = targets_of(source, call)
    for function in source.tree.body:
        if not isinstance(function, ast.FunctionDef):
            continue
        inside = list(ast.walk(function))
        returned = [x.value for x in inside if isinstance(x, ast.Return)]
        is_it = any(x is call for x in inside) and all(
            value is call or (chain(value) and chain(value) in roots) for value in returned
        )
        if is_it and returned:
            calls = [x for x in calls_of(source.nodes) if chain(x.func) == function.name]
            made = (source, calls[0]) if len(calls) == 1 else None
            maker = with_call(Maker(function.name, source, function), made)
            return maker if maker.call else None
    return None


def outer_calls(source: Source, modules: Mapping[str, Source], scope: ast.AST) -> list[ast.Call]:
    """Return the calls that make networks, those in networks and in other such calls aside."""
    inner: set[int] = set()
    for definition in source.classes():
        if is_network(source, definition, modules):
            inner |= {id(x) for x in ast.walk(definition)}
    within = {id(x) for x in ast.walk(scope)}
    found: list[ast.Call] = []
    for node in source.nodes:
        if len(found) == MAX_CALLS:
            break
        if not isinstance(node, ast.Call) or id(node) in inner or id(node) not in within:
            continue
        own = local_class(source, node.func, modules)
        if named_architecture(source, node) or (own is not None and has_forward(*own, modules)):
            found.append(node)
            inner |= {id(x) for x in ast.walk(node)}
    parts = [x for x in found if is_part(source, x, found)]
    return [x for x in found if x not in parts]


def is_part(source: Source, call: ast.Call, others: list[ast.Call]) -> bool:
    """Tell whether what a call makes becomes a part of another network, as in model.fc = Head()."""
    names = source.results.get(id(call), ())
    wholes = set().union(*(targets_of(source, x) for x in others if x is not call))
    return bool(names) and all(below(name, wholes) for name in names)


def local_class(
    source: Source, node: ast.AST, modules: Mapping[str, Source]
) -> tuple[Source, ast.ClassDef] | None:
    """Return the network's class of the user's own that an expression names."""
    found = class_named(source, source.full_name(node), modules)
    return found if found is not None and is_network(*found, modules) else None


def is_network(
    source: Source, node: ast.ClassDef, modules: Mapping[str, Source], depth: int = 0
) -> bool:
    """Tell whether a class is an nn.Module, or derived from one of the user's own."""
    if depth > MAX_BASES:
        return False
    for base in node.bases:
        name = source.full_name(base)
        if name in MODULES or name.startswith(MODELS) or LIGHTNING.match(name):
            return True
        parent = class_named(source, name, modules)
        if parent is not None and parent[1] is not node and is_network(*parent, modules, depth + 1):
            return True
        # Of a package's class, of which nothing is known but that this one has a forward.
        is_foreign = parent is None and "." in name and not name.startswith(NO_NETWORKS)
        if is_foreign and method(node, "forward") is not None:
            return True
    return False


def class_named(
    source: Source, name: str, modules: Mapping[str, Source]
) -> tuple[Source, ast.ClassDef] | None:
    """Return the user's own class of a full name, and its file."""
    module, _, own = name.lstrip(".").rpartition(".")
    home = modules.get(module.rpartition(".")[2]) if module else source
    if home is None:
        return None
    return next(((home, x) for x in home.classes() if x.name == own), None)


def has_forward(source: Source, node: ast.ClassDef, modules: Mapping[str, Source]) -> bool:
    """Tell whether a class, or one that it is derived from, says what the network computes."""
    if method(node, "forward") is not None:
        return True
    for base in node.bases:
        name = source.full_name(base)
        parent = class_named(source, name, modules)
        if parent is None and name not in MODULES[:2] and "." in name:  # a package's network
            return True
        if parent is not None and parent[1] is not node and has_forward(*parent, modules):
            return True
    return False


def named_architecture(
    source: Source, call: ast.Call, values: Mapping[str, Any] = NO_VALUES
) -> str:
    """Return the architecture that a call makes, as an answer; "" if it makes none.

    Args:
        source: The file with the call.
        call: It.
        values: Plain values of the parameters around it, by name.
    """
    name = source.full_name(call.func)
    known = catalogue.load()
    if name.startswith(MODELS):
        last = name.rpartition(".")[2]
        if last == "get_model":
            last = str(argument_value(source, call, ("name", 0), values))
        return last if last in known and last not in catalogue.OTHERS else ""
    if name == "torch.hub.load" and "pytorch/vision" in str(
        source.value_or(argument(call, 0, "repo_or_dir"), "")
    ):
        last = str(source.value_or(argument(call, 1, "model"), ""))
        return last if last in known and last not in catalogue.OTHERS else ""
    if name in ("timm.create_model", "timm.models.create_model"):
        last = argument_value(source, call, ("model_name", 0), values)
        return f"timm/{last}" if isinstance(last, str) and last else ""
    return ""


# ------------------------------------------------------------ reading a network


def read_call(source: Source, call: ast.Call, modules: Mapping[str, Source]) -> Network:
    """Read a call that makes a network, and what is done to the network after it."""
    if found := local_class(source, call.func, modules):
        home, node = found
        network = read_class(home, node, (source, call), modules)
        roots = targets_of(source, call)
        return with_assignments(network, source, roots) if source is not home else network
    network = read_construction(source, call)
    return with_assignments(network, source, targets_of(source, call))


def read_construction(
    source: Source, call: ast.Call, values: Mapping[str, Any] = NO_VALUES
) -> Network:
    """Read a call such as torchvision.models.resnet18(num_classes=10).

    Args:
        source: The file with the call.
        call: It.
        values: Plain values of the parameters around it, by name.
    """
    architecture = named_architecture(source, call, values)
    given = next((k.value for k in call.keywords if k.arg in ("pretrained", "weights")), None)
    if given is None and call.args and not architecture.startswith("timm/"):
        given = call.args[0] if source.full_name(call.func).startswith(MODELS) else None
    network = Network(
        source.at(call),
        architecture,
        pretrained=given is not None and source.value_or(given, True) not in (None, False),
        output=LOGITS,
        output_at=source.at(call),
    )
    if network.pretrained and given is not None:
        text = str(source.value_or(given, chain(given)))
        version = "IMAGENET1K_V1" if text == "True" else text.rpartition(".")[2]
        network = replace(network, version=version)
    arch = catalogue.load().get(architecture)
    for keyword in call.keywords:
        value = source.value_or(keyword.value, None)
        if keyword.arg == "num_classes" and isinstance(value, int):
            network = replace(network, classes=value, classes_at=source.at(keyword))
        elif keyword.arg == "in_chans" and isinstance(value, int):
            network = replace(network, channels=value, channels_at=source.at(keyword))
        elif arch is not None and arch.detection and keyword.arg in DETECTION_ANSWERS and value:
            answer = {DETECTION_ANSWERS[keyword.arg]: (value, source.at(keyword))}
            network = replace(network, answers={**network.answers, **answer})
        elif keyword.arg not in HARMLESS:
            network = network.unlike(f"{source.at(keyword)}: {ast.unparse(keyword)[:60]}")
    return network


# torchvision's classes, each with one of the architectures that it makes: they call their last
# layers and their first ones alike.
CLASSES = {
    "AlexNet": "alexnet", "ConvNeXt": "convnext_tiny", "DenseNet": "densenet121",
    "EfficientNet": "efficientnet_b0", "GoogLeNet": "googlenet", "Inception3": "inception_v3",
    "MNASNet": "mnasnet0_5", "MaxVit": "maxvit_t", "MobileNetV2": "mobilenet_v2",
    "MobileNetV3": "mobilenet_v3_large", "RegNet": "regnet_y_400mf", "ResNet": "resnet18",
    "ShuffleNetV2": "shufflenet_v2_x0_5", "SqueezeNet": "squeezenet1_1",
    "SwinTransformer": "swin_t", "VGG": "vgg11", "VisionTransformer": "vit_b_16",
}  # fmt: skip
ONLY = {"alexnet", "googlenet", "inception_v3", "maxvit_t", "mobilenet_v2"}  # of their class

# torchvision's heads of segmenters, by family, and the position of num_classes.
SEGMENTATION_HEADS = {"deeplabv3": ("DeepLabHead", 1), "fcn": ("FCNHead", 1),
                      "lraspp": ("LRASPPHead", 2)}  # fmt: skip

# Heads of torchvision's detectors, and the position of num_classes.
DETECTION_HEADS = {
    "FastRCNNPredictor": 1, "MaskRCNNPredictor": 2, "RetinaNetClassificationHead": 2,
    "FCOSClassificationHead": 2, "SSDHead": 2, "SSDClassificationHead": 2, "SSDLiteHead": 2,
    "SSDLiteClassificationHead": 2,
}  # fmt: skip
# Arguments of constructors of detectors, and the answers that say the same.
DETECTION_ANSWERS = {
    "min_size": "image_size", "max_size": "max_size", "image_mean": "mean", "image_std": "std",
    "box_score_thresh": "score_threshold", "score_thresh": "score_threshold",
    "box_nms_thresh": "nms_threshold", "nms_thresh": "nms_threshold",
    "box_detections_per_img": "max_detections", "detections_per_img": "max_detections",
    "num_keypoints": "keypoint_names",
}  # fmt: skip
# Arguments of constructors that the weights show, or that matter to training alone.
HARMLESS = {
    "num_classes", "weights", "pretrained", "progress", "aux_logits", "init_weights", "dropout",
    "drop_rate", "drop_path_rate", "stochastic_depth_prob", "attention_dropout", "in_chans",
    "checkpoint_path", "transform_input", "aux_loss", "weights_backbone", "pretrained_backbone",
    "trainable_backbone_layers",
}  # fmt: skip


def targets_of(source: Source, call: ast.Call) -> set[str]:
    """Return the names that a call's result gets, as in {"model", "self.model"}."""
    names = set(source.results.get(id(call), ()))
    for _ in range(3):  # self.model = model
        names |= {
            name
            for name, values in source.bindings.items()
            if any(value is not None and chain(value) in names for value in values)
        }
    return names


def with_assignments(
    network: Network, source: Source, roots: set[str], within: ast.AST | None = None
) -> Network:
    """Add what is assigned to parts of a network: its head, its first layer, anything else."""
    nodes = {id(x) for x in ast.walk(within)} if within is not None else None
    for node in source.nodes:
        if nodes is not None and id(node) not in nodes:
            continue
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if path := below(chain(target), roots):
                    network = with_assignment(network, source, path, node)
        elif isinstance(node, ast.Call):
            name = chain(node.func)
            is_set = name == "setattr" and node.args and chain(node.args[0]) in roots
            if is_set or (
                below(name, roots)
                and name.rpartition(".")[2].startswith(("add_module", "register_", "append"))
            ):
                network = network.unlike(f"{source.at(node)}: {ast.unparse(node)[:60]}")
    return network


def below(name: str, roots: set[str]) -> str:
    """Return the path below one of the roots, as in fc for model.fc; "" if it is below none."""
    for root in sorted(roots, key=len, reverse=True):
        if name.startswith(f"{root}."):
            return name[len(root) + 1 :]
    return ""


def with_assignment(network: Network, source: Source, path: str, node: ast.Assign) -> Network:
    """Add one assignment to a part of a network."""
    if path.rpartition(".")[2] in ("requires_grad", "training", "eval", "inplace", "p"):
        return network
    shown = f"{source.at(node)}: {ast.unparse(node)[:70]}"
    arch = catalogue.load().get(network.architecture)
    if arch is None or arch.params is None:
        return network.unlike(shown)
    if arch.kinds == ("segmenter",) and not path.startswith("backbone"):
        return with_segmentation_head(network, source, path, node.value, shown)
    if arch.detection and path.startswith(("roi_heads.", "head.")):
        return with_detection_head(network, source, path, node.value, shown)
    if is_at(path, arch.classifier, arch.classifier_kind == "Linear"):
        return with_head(network, source, node.value, shown)
    if path == arch.first_conv and isinstance(node.value, ast.Call):
        channels = source.value_or(argument(node.value, 0, "in_channels"), 0)
        if conv_arguments(source, node.value) == catalogue_arguments(arch.first_conv_args):
            return replace(network, channels=channels, channels_at=source.at(node))
    return network.unlike(shown)


def is_at(path: str, classifier: str, is_last: bool) -> bool:
    """Tell whether a path is that of the last layer, or of the layers that hold it."""
    if is_last and path.endswith(".-1"):
        return path.removesuffix(".-1") == classifier.rpartition(".")[0]
    return f"{classifier}.".startswith(f"{path}.")


def with_head(network: Network, source: Source, value: ast.expr, shown: str) -> Network:
    """Add what the last layer is replaced by."""
    layers = layers_of(source, value)
    kinds = [kind for kind, _ in layers]
    if kinds and kinds[-1] in ENDINGS:
        network = replace(network, output=ENDINGS[kinds.pop()], output_at=source.at(value))
    linear = [call for kind, call in layers if kind in ("Linear", "Conv2d")]
    if linear:
        classes = source.value_or(argument(linear[-1], 1, "out_features", "out_channels"), 0)
        if isinstance(classes, int) and not isinstance(classes, bool):
            network = replace(network, classes=classes, classes_at=source.at(linear[-1]))
    if head := HEADS.get(tuple(kinds)):
        return replace(network, head=head)
    return network.unlike(shown)


def with_detection_head(
    network: Network, source: Source, path: str, value: ast.expr, shown: str
) -> Network:
    """Add what a detector's head, or a part of it, is replaced by."""
    last = path.rpartition(".")[2]
    plain = source.value_or(value, None)
    if last == "num_classes" or (last == "cls_logits" and isinstance(value, ast.Call)):
        return network  # the weights show it
    if last in DETECTION_ANSWERS and plain:
        answer = {DETECTION_ANSWERS[last]: (plain, source.at(value))}
        return replace(network, answers={**network.answers, **answer})
    kind = source.full_name(value.func).rpartition(".")[2] if isinstance(value, ast.Call) else ""
    if kind == "KeypointRCNNPredictor" and isinstance(value, ast.Call):
        count = source.value_or(argument(value, 1, "num_keypoints"), None)
        answer = {"keypoint_names": (count, source.at(value))} if count else {}
        return replace(network, answers={**network.answers, **answer})
    if kind not in DETECTION_HEADS:
        return network.unlike(shown)
    assert isinstance(value, ast.Call)
    classes = source.value_or(argument(value, DETECTION_HEADS[kind], "num_classes"), 0)
    if isinstance(classes, int) and not isinstance(classes, bool) and classes > 0:
        return replace(network, classes=classes, classes_at=source.at(value))
    return network


def with_segmentation_head(
    network: Network, source: Source, path: str, value: ast.expr, shown: str
) -> Network:
    """Add what a segmenter's head, or its last layer, is replaced by."""
    arch = catalogue.load()[network.architecture]
    if path.partition(".")[0] in arch.aux:
        return network
    classes: Any = None
    if isinstance(value, ast.Call):
        kind = source.full_name(value.func).rpartition(".")[2]
        head, position = SEGMENTATION_HEADS[arch.family]
        parent, _, last = arch.classifier.rpartition(".")
        lasts = {"low_classifier", last} if arch.family == "lraspp" else {last, "-1"}
        if kind == head and path == parent:
            classes = source.value_or(argument(value, position, "num_classes"), 0)
        elif kind == "Conv2d" and path.removeprefix(f"{parent}.") in lasts:
            classes = source.value_or(argument(value, 1, "out_channels"), 0)
    if classes is None:
        return network.unlike(shown)
    is_number = isinstance(classes, int) and not isinstance(classes, bool) and classes > 0
    return replace(network, classes=classes, classes_at=source.at(value)) if is_number else network


def layers_of(source: Source, value: ast.AST | None) -> list[tuple[str, ast.Call]]:
    """Return the layers of nn.Sequential, or the one layer, by the names of their classes."""
    if not isinstance(value, ast.Call):
        return [("?", ast.Call(ast.Name("?"), [], []))]
    name = source.full_name(value.func)
    kind = name.rpartition(".")[2]
    if kind != "Sequential":
        return [(kind if name.startswith("torch.") else "?", value)]
    parts: list[ast.expr] = list(value.args)
    if len(parts) == 1 and isinstance(parts[0], ast.Call):  # OrderedDict([("fc1", nn.Linear(...))])
        inner = parts[0]
        if source.full_name(inner.func).endswith("OrderedDict"):
            pairs = inner.args[0] if inner.args else None
            parts = [
                x.elts[1] for x in getattr(pairs, "elts", []) if len(getattr(x, "elts", [])) == 2
            ]
    return [layer for part in parts for layer in layers_of(source, part)]


def conv_arguments(source: Source, call: ast.Call) -> dict[str, Any] | None:
    """Return the arguments of nn.Conv2d after in_channels, by name; None if one is not plain."""
    names = (
        "in_channels",
        "out_channels",
        "kernel_size",
        "stride",
        "padding",
        "dilation",
        "groups",
        "bias",
    )
    if source.full_name(call.func).rpartition(".")[2] != "Conv2d":
        return None
    given = dict(zip(names, call.args, strict=False))
    given |= {str(k.arg): k.value for k in call.keywords}
    values = {name: source.value_or(x, "?") for name, x in given.items() if name != "in_channels"}
    return tidy(values)


def catalogue_arguments(text: str) -> dict[str, Any] | None:
    """Return the same for the catalogue's first_conv_args."""
    call = ast.parse(f"Conv2d(3, {text})", mode="eval").body
    names = ("out_channels", "kernel_size", "stride", "padding")
    assert isinstance(call, ast.Call)
    values = {n: ast.literal_eval(x) for n, x in zip(names, call.args[1:], strict=False)}
    values |= {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    return tidy(values)


def tidy(values: dict[str, Any]) -> dict[str, Any] | None:
    """Return arguments of a convolution in one form: pairs as numbers, defaults left out."""
    defaults = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True}
    one = {k: v[0] if isinstance(v, tuple) and len(set(v)) == 1 else v for k, v in values.items()}
    return {k: v for k, v in one.items() if defaults.get(k, "?") != v}


# ------------------------------------------------------------ classes of one's own


def read_class(
    source: Source,
    node: ast.ClassDef,
    made: Made | None,
    modules: Mapping[str, Source],
) -> Network:
    """Read a network's class.

    Args:
        source: The file that defines it.
        node: Its definition.
        made: The call that makes it, and where; None if TorchServe does, without arguments.
        modules: The user's own modules.
    """
    own = with_call(Maker(node.name, source, node), made)
    network = Network(own.where, own=own)
    values = parameters(source, node, made)
    output, place = output_of(source, node)
    if base := thin_subclass(source, node):
        network = replace(network, architecture=base, output=LOGITS, output_at=own.where)
        network = with_assignments(network, source, {"self"}, node)
        return replace(
            network,
            architecture=base if base in ONLY else "",
            attribute="self" if not network.changes else "",
        )
    calls = [
        (name.removeprefix("self."), call)
        for name, call in attributes(source, node)
        if named_architecture(source, call, values)
    ]
    if len(calls) == 1 and is_thin(node, calls[0][0]):
        name, call = calls[0]
        inner = read_construction(source, call, values)
        inner = with_assignments(inner, source, {f"self.{name}"}, node)
        named = argument_value(source, call, "num_classes", values)
        if isinstance(named, int):
            inner = replace(inner, classes=named, classes_at=source.at(call))
        return replace(
            inner,
            where=own.where,
            own=own,
            attribute=name,
            output=output if output != LOGITS else inner.output,
            output_at=place,
        )
    network = replace(network, output=output, output_at=place)
    network = replace(
        network, pretrained=any(read_construction(source, c).pretrained for _, c in calls)
    )
    for call in (x for x in ast.walk(node) if isinstance(x, ast.Call)):
        kind = source.full_name(call.func)
        if kind == "torch.nn.Conv2d" and not network.channels:
            channels = argument_value(source, call, ("in_channels", 0), values)
            if isinstance(channels, int):
                network = replace(network, channels=channels, channels_at=source.at(call))
    for name, call in attributes(source, node):
        layers = [c for kind, c in layers_of(source, call) if kind == "Linear"]
        if layers:
            classes = argument_value(source, layers[-1], ("out_features", 1), values)
            network = replace(
                network,
                classes=classes if isinstance(classes, int) else 0,
                classes_at=source.at(layers[-1]),
                last=name.removeprefix("self."),
            )
    return network


def attributes(source: Source, node: ast.ClassDef) -> Iterator[tuple[str, ast.Call]]:
    """Yield what a class assigns to its attributes, in order: the name with self., and the call."""
    statements = [x for x in ast.walk(node) if isinstance(x, ast.Assign)]
    for statement in sorted(statements, key=lambda x: x.lineno):
        for target in statement.targets:
            name = chain(target)
            if re.fullmatch(r"self\.\w+", name) and isinstance(statement.value, ast.Call):
                yield name, statement.value


def parameters(source: Source, node: ast.ClassDef, made: Made | None) -> dict[str, Any]:
    """Return the plain values that __init__ gets, by parameter."""
    init = method(node, "__init__")
    if init is None:
        return {}
    names = [x.arg for x in (*init.args.posonlyargs, *init.args.args)][1:]
    defaults = init.args.defaults
    values = {
        name: source.value_or(x, None)
        for name, x in zip(names[len(names) - len(defaults) :], defaults, strict=False)
    }
    values |= {
        x.arg: source.value_or(default, None)
        for x, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)
        if default is not None
    }
    if made is not None:
        where, call = made
        for name, x in zip(names, call.args, strict=False):
            values[name] = where.value_or(x, None)
        values |= {k.arg: where.value_or(k.value, None) for k in call.keywords if k.arg}
    return values


def argument_value(
    source: Source, call: ast.Call, which: str | tuple[str, int], values: Mapping[str, Any]
) -> Any:
    """Return the plain value of an argument, which may be a parameter of __init__."""
    name, position = (which, -1) if isinstance(which, str) else which
    node = argument(call, position, name)
    if isinstance(node, ast.Name) and node.id in values:
        return values[node.id]
    return source.value_or(node, None)


def with_call(own: Maker, made: Made | None) -> Maker:
    """Add the Python that makes the network, if it is sure."""
    if isinstance(own.node, ast.FunctionDef):
        signature = own.node.args
        parameters = [*signature.posonlyargs, *signature.args]
    else:
        init = method(own.node, "__init__")
        if init is None:
            return replace(own, call=f"{own.name}()")
        signature = init.args
        parameters = [*signature.posonlyargs, *signature.args][1:]
    required = parameters[: len(parameters) - len(signature.defaults)]
    given: dict[str, ast.expr] = {}
    if made is not None:
        where, call = made
        is_open = any(isinstance(x, ast.Starred) for x in call.args)
        if is_open or any(k.arg is None for k in call.keywords):
            return replace(own, why=f"{where.at(call)} makes it with arguments from elsewhere")
        given |= dict(zip((x.arg for x in parameters), call.args, strict=False))
        given |= {str(k.arg): k.value for k in call.keywords}
    needed = {x.arg for x in required} | {
        x.arg
        for x, default in zip(signature.kwonlyargs, signature.kw_defaults, strict=True)
        if default is None
    }
    arguments = []
    names = [x.arg for x in (*parameters, *signature.kwonlyargs)]
    for name in dict.fromkeys((*names, *given)):
        if NUMBER_OF_CLASSES.fullmatch(name):
            arguments.append(f"{name}=num_classes")
        elif name in given and made is not None:
            where, call = made
            value = where.value_or(given[name], ...)
            if value is ... or isinstance(value, Numbers):
                shown = ast.unparse(given[name])[:40]
                return replace(own, why=f"{where.at(call)} makes it with {name}={shown}")
            arguments.append(f"{name}={value!r}")
        elif name in needed:
            return replace(own, why=f"it needs {name}")
    return replace(own, call=f"{own.name}({', '.join(arguments)})")


def method(node: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    """Return a method of a class, if it has its own."""
    return next((x for x in node.body if isinstance(x, ast.FunctionDef) and x.name == name), None)


def thin_subclass(source: Source, node: ast.ClassDef) -> str:
    """Return an architecture like that of a subclass which only gives arguments; "" if it is none.

    The classes are torchvision's.
    """
    methods = {x.name for x in node.body if isinstance(x, ast.FunctionDef)}
    names = [source.full_name(base) for base in node.bases]
    kinds = [CLASSES.get(x.rpartition(".")[2], "") for x in names if x.startswith(MODELS)]
    return kinds[0] if kinds and methods <= {"__init__", "load_state_dict"} else ""


def is_thin(node: ast.ClassDef, attribute: str) -> bool:
    """Tell whether forward calls the attribute and does nothing else, softmax aside."""
    forward = method(node, "forward")
    if forward is None or len(forward.args.args) != 2:
        return False
    calls = 0
    for statement in forward.body:
        match statement:
            case ast.Expr(value=ast.Constant()):
                continue
            case ast.Return(value=ast.expr() as value):
                pass
            case ast.Assign(targets=[ast.Name()], value=value):
                pass
            case _:
                return False
        value = without_key(value)
        while isinstance(value, ast.Call) and value.args:
            name = chain(value.func)
            if name == f"self.{attribute}" and len(value.args) == 1 and not value.keywords:
                calls += 1
            elif name.rpartition(".")[2] not in ENDINGS:
                return False
            value = without_key(value.args[0])
        if not isinstance(value, ast.Name):
            return False
    return calls == 1


def without_key(value: ast.expr) -> ast.expr:
    """Return what a dict is from, as in self.model(x) for self.model(x)["out"]."""
    match value:
        case ast.Subscript(value=inner, slice=ast.Constant(value=str())):
            return inner
    return value


def output_of(source: Source, node: ast.ClassDef) -> tuple[str, str]:
    """Return what forward ends in, a value of ENDINGS or LOGITS, "" if unclear; and where."""
    forward = method(node, "forward")
    if forward is None:
        return "", source.at(node)
    returns = [x for x in ast.walk(forward) if isinstance(x, ast.Return) and x.value is not None]
    if len(returns) != 1:
        return "", source.at(forward)
    value: ast.AST | None = returns[0].value
    place = source.at(returns[0])
    if isinstance(value, ast.Name):
        assigned = [
            x
            for x in ast.walk(forward)
            if isinstance(x, ast.Assign) and any(chain(t) == value.id for t in x.targets)
        ]
        if assigned:
            last = max(assigned, key=lambda x: x.lineno)
            value, place = last.value, source.at(last)
    if isinstance(value, ast.expr):
        value = without_key(value)
    if not isinstance(value, ast.Call):
        return LOGITS, place
    name = chain(value.func)
    kind = name.rpartition(".")[2]
    if kind in ENDINGS:
        return ENDINGS[kind], place
    if isinstance(value.func, ast.Call):  # nn.Softmax(dim=1)(x)
        kind = chain(value.func.func).rpartition(".")[2]
        return ENDINGS.get(kind, LOGITS), place
    if name.startswith("self."):
        inside = dict(attributes(source, node)).get(name)
        layers = layers_of(source, inside) if inside is not None else []
        if layers:
            return ENDINGS.get(layers[-1][0], LOGITS), place
    return LOGITS, place
