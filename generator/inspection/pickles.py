"""Reads pickles, and the objects in them, without running or building anything.

`pickletools.genops` splits a pickle into its operations; a small machine follows them. Where a
pickle asks for a class or a function, the machine puts a stand-in that holds the name. Of the few
that checkpoints need (`torch._utils._rebuild_tensor_v2`, `collections.OrderedDict`, ...) it knows
what they would give, and works that out itself.

Pickles from strangers may try to hurt whoever reads them. So every operation costs from a budget,
files are read up to a limit, nothing is hashed but plain scalars, and nothing here recurses.
"""

from __future__ import annotations

import pickletools
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

MAX_BYTES = 50_000_000  # of a pickle; tensors lie outside of it
MAX_OPERATIONS = 2_000_000  # a network of 1,000 tensors takes 50,000, with its optimizer
MAX_NAME = 200  # characters of a class or function; none that is known has as many
MAX_DIMENSIONS = 64  # as torch
MAX_SIZE = 2**63
MAX_INT_KEY = 2**60  # greater integers can be made to have equal hashes


class PickleError(ValueError):
    """The pickle is damaged, or made to do harm."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """What a file says of a tensor: its shape, and the name of its dtype, as in "float32"."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class Global:
    """A class or function that a pickle names, such as "torch.nn.modules.linear.Linear"."""

    name: str


@dataclass(frozen=True, slots=True)
class Storage:
    """Where the data of tensors lies: under `key`, `count` elements."""

    dtype: str
    key: str
    count: int


@dataclass(slots=True, eq=False)
class Inert:
    """A stand-in for an object of a class that was not built.

    It shows the attributes that make a `torch.nn.Module`, for `find_states`, and no others.

    Attributes:
        name: that of its class.
        state: its `__dict__`, or what `__setstate__` would get.
        arguments: what its class, or the function that returns it, was called with.
    """

    name: str
    state: Any = None
    arguments: tuple[Any, ...] = ()

    def __getattr__(self, name: str) -> Any:
        """Return what makes this a module, if it is one."""
        if name in MODULE_ATTRIBUTES and isinstance(self.state, dict) and name in self.state:
            return self.state[name]
        raise AttributeError(name)


class Unordered(list[Any]):
    """What is in a set. Where it stands in the file tells nothing."""


MODULE_ATTRIBUTES = ("_modules", "_parameters", "_buffers", "_non_persistent_buffers_set")

# Storage classes of torch by the dtype that they hold.
STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32",
}

# ------------------------------------------------------------------------------------ the machine


@dataclass
class Machine:
    """Follows the operations of one pickle.

    Attributes:
        names: every class and function that the pickle names, in order.
        storages: every storage that it refers to, by key.
        unreadable: why `torch.load(weights_only=True)` stops at it, whatever may stand in for the
            classes that it names; "" if it does not.
    """

    names: dict[str, None] = field(default_factory=dict)
    storages: dict[str, Storage] = field(default_factory=dict)
    unreadable: str = ""
    budget: int = MAX_OPERATIONS
    stack: list[Any] = field(default_factory=list)
    marks: list[list[Any]] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self, file: BinaryIO) -> Any:
        """Follow the pickle at the position of `file`, up to its end; return what it holds.

        Raises:
            PickleError: it is damaged, or too much.
        """
        self.stack, self.marks, self.memo = [], [], {}
        try:
            for opcode, argument, _ in pickletools.genops(file):
                self.spend(1)
                if opcode.name not in READ_BY_TORCH:
                    self.stops_torch(
                        f"an operation of pickle protocol {opcode.proto}, {opcode.name}"
                    )
                if opcode.name == "STOP":
                    return self.stack.pop()
                OPERATIONS[opcode.name](self, argument)
        except PickleError:
            raise
        # What damaged bytes make genops and the machine trip over.
        except (ValueError, KeyError, IndexError, TypeError, struct.error, OverflowError) as error:
            raise PickleError(f"the pickle is damaged ({error})") from error
        raise PickleError("the pickle has no end")

    def spend(self, count: int) -> None:
        """Take from the budget."""
        self.budget -= count
        if self.budget < 0:
            raise PickleError("the pickle takes too many operations for a checkpoint")

    def stops_torch(self, reason: str) -> None:
        """Note why torch does not read the pickle without running what is in it."""
        self.unreadable = self.unreadable or reason

    def pop_mark(self) -> list[Any]:
        """Return what was pushed since the last mark."""
        items = self.stack
        self.stack = self.marks.pop()
        return items

    def named(self, name: str) -> Global:
        """Return a class or function by its name."""
        name = name[:MAX_NAME]
        self.names[name] = None
        if name.rpartition(".")[0] in BLOCKED or name.startswith("torch.distributed."):
            self.stops_torch(name)
        return Global(name)


def _push(machine: Machine, argument: Any) -> None:
    machine.stack.append(argument)


def _push_new(make: Callable[[], Any]) -> Callable[[Machine, Any], None]:
    return lambda machine, _: machine.stack.append(make())


def _nothing(machine: Machine, _: Any) -> None:
    pass


def _mark(machine: Machine, _: Any) -> None:
    machine.marks.append(machine.stack)
    machine.stack = []


def _pop(machine: Machine, _: Any) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.pop_mark()


def _pop_mark(machine: Machine, _: Any) -> None:
    machine.pop_mark()


def _dup(machine: Machine, _: Any) -> None:
    machine.stack.append(machine.stack[-1])


def _collect(make: Callable[[list[Any]], Any]) -> Callable[[Machine, Any], None]:
    """Return an operation that gathers what was pushed since the last mark."""

    def operation(machine: Machine, _: Any) -> None:
        items = machine.pop_mark()  # which changes the stack
        machine.stack.append(make(items))

    return operation


def _tuple_of(count: int) -> Callable[[Machine, Any], None]:
    def operation(machine: Machine, _: Any) -> None:
        if len(machine.stack) < count:
            raise PickleError("the pickle is damaged (a tuple lacks elements)")
        items = tuple(machine.stack[-count:])
        machine.stack[-count:] = [items]

    return operation


def _as_dict(items: Sequence[Any]) -> dict[Any, Any]:
    content: dict[Any, Any] = {}
    _store(content, items)
    return content


def _store(target: Any, items: Sequence[Any]) -> None:
    """Put keys and values, which alternate, into a dict; a stand-in does not keep them."""
    if len(items) % 2:
        raise PickleError("the pickle is damaged (a key lacks its value)")
    if not isinstance(target, dict):
        return
    for key, value in zip(items[::2], items[1::2], strict=True):
        # Hashing a deeply nested tuple would overflow the interpreter's stack.
        if isinstance(key, str | bytes | float | None) or (
            isinstance(key, int) and abs(key) < MAX_INT_KEY
        ):
            target[key] = value


def _append(machine: Machine, _: Any) -> None:
    item = machine.stack.pop()
    _extend(machine, [item])


def _appends(machine: Machine, _: Any) -> None:
    items = machine.pop_mark()
    _extend(machine, items)


def _extend(machine: Machine, items: list[Any]) -> None:
    """Put items into the list on the stack; a stand-in does not keep them."""
    target = machine.stack[-1]
    if isinstance(target, list):
        target.extend(items)
    elif isinstance(target, Inert) and target.name != "collections.deque":  # as archive.py does
        machine.stops_torch(f"a list of the class {target.name}")


def _set_item(machine: Machine, _: Any) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    _set(machine, [key, value])


def _set_items(machine: Machine, _: Any) -> None:
    items = machine.pop_mark()
    _set(machine, items)


def _set(machine: Machine, items: list[Any]) -> None:
    """Put keys and values into the dict on the stack."""
    target = machine.stack[-1]
    if isinstance(target, Inert):
        machine.stops_torch(f"a dict of the class {target.name}")
    _store(target, items)


def _put(machine: Machine, key: int) -> None:
    machine.memo[key] = machine.stack[-1]


def _memoize(machine: Machine, _: Any) -> None:
    machine.memo[len(machine.memo)] = machine.stack[-1]


def _get(machine: Machine, key: int) -> None:
    machine.stack.append(machine.memo[key])


def _global(machine: Machine, argument: str) -> None:
    machine.stack.append(machine.named(argument.replace(" ", ".", 1)))


def _stack_global(machine: Machine, _: Any) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    if not (isinstance(name, str) and isinstance(module, str)):
        raise PickleError("the pickle is damaged (a class without a name)")
    machine.stack.append(machine.named(f"{module}.{name}"))


def _extension(machine: Machine, code: int) -> None:
    machine.stack.append(machine.named(f"copyreg extension {code}"))


def _reduce(machine: Machine, _: Any) -> None:
    arguments, function = machine.stack.pop(), machine.stack.pop()
    machine.stack.append(_call(machine, function, arguments))


def _new_object(machine: Machine, _: Any) -> None:
    _, cls = machine.stack.pop(), machine.stack.pop()
    machine.stack.append(_instance(cls))


def _new_object_ex(machine: Machine, _: Any) -> None:
    del machine.stack[-2:]
    machine.stack.append(_instance(machine.stack.pop()))


def _inst(machine: Machine, argument: str) -> None:
    machine.pop_mark()
    machine.stack.append(_instance(machine.named(argument.replace(" ", ".", 1))))


def _obj(machine: Machine, _: Any) -> None:
    items = machine.pop_mark()
    machine.stack.append(_instance(items[0]))


def _build(machine: Machine, _: Any) -> None:
    state = machine.stack.pop()
    target = machine.stack[-1]
    if isinstance(target, Inert):
        target.state = state
    elif isinstance(state, dict) and state.keys() >= {"_content", "_parent"}:
        _fill(machine, target, state["_content"])


def _fill(machine: Machine, target: Any, content: Any) -> None:
    """Put what a container of OmegaConf holds into the dict or the list that stands for it."""

    def value_of(node: Any) -> Any:
        is_node = isinstance(node, Inert) and node.name.startswith("omegaconf.nodes.")
        return node.state.get("_val") if is_node and isinstance(node.state, dict) else node

    if isinstance(target, dict) and isinstance(content, dict):
        machine.spend(len(content))
        target.update({key: value_of(node) for key, node in content.items()})
    elif isinstance(target, list) and isinstance(content, list):
        machine.spend(len(content))
        target.extend(map(value_of, content))


def _persistent(machine: Machine, _: Any) -> None:
    machine.stack.append(_storage_of(machine, machine.stack.pop()))


def _persistent_text(machine: Machine, _: Any) -> None:
    machine.stack.append(Inert("a persistent id"))


def _storage_of(machine: Machine, identity: Any) -> Any:
    """Return the storage that torch means by a persistent id; a stand-in for any other id."""
    match identity:
        case ("storage", Global(name=name), str() as key, _, int() as count, *_) if count >= 0:
            dtype = STORAGES.get(name.rpartition(".")[2], "unknown")
            storage = Storage(dtype, key, count)
            machine.storages[key] = storage
            return storage
        case ("module", Global() as cls, *_):  # files of torch before 1.6 have classes so
            machine.stops_torch(f"the class {cls.name}")
            return cls
    return Inert("a persistent id")


OPERATIONS: dict[str, Callable[[Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "READONLY_BUFFER"), _nothing),
    **dict.fromkeys(("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"), _push),
    **dict.fromkeys(("FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING"), _push),
    **dict.fromkeys(("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"), _push),
    **dict.fromkeys(("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"), _push),
    "NONE": _push,
    "NEWTRUE": _push_new(lambda: True),
    "NEWFALSE": _push_new(lambda: False),
    "NEXT_BUFFER": _push_new(lambda: Inert("a buffer")),
    "EMPTY_LIST": _push_new(list),
    "EMPTY_TUPLE": _push_new(tuple),
    "EMPTY_DICT": _push_new(dict),
    "EMPTY_SET": _push_new(Unordered),
    "LIST": _collect(list),
    "TUPLE": _collect(tuple),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "FROZENSET": _collect(list),
    "DICT": _collect(_as_dict),
    "APPEND": _append,
    "APPENDS": _appends,
    "ADDITEMS": _appends,
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "MARK": _mark,
    "POP": _pop,
    "POP_MARK": _pop_mark,
    "DUP": _dup,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _put),
    "MEMOIZE": _memoize,
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _get),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), _extension),
    "REDUCE": _reduce,
    "NEWOBJ": _new_object,
    "NEWOBJ_EX": _new_object_ex,
    "INST": _inst,
    "OBJ": _obj,
    "BUILD": _build,
    "PERSID": _persistent_text,
    "BINPERSID": _persistent,
}


# -------------------------------------------------------------------------- what is known by name


def _call(machine: Machine, function: Any, arguments: Any) -> Any:
    """Return what a known function gives for these arguments; a stand-in for any other."""
    if isinstance(function, Global) and isinstance(arguments, tuple):
        known = FUNCTIONS.get(function.name)
        if known is not None:
            try:
                return known(machine, *arguments)
            except TypeError as error:
                raise PickleError(f"the pickle misuses {function.name}") from error
    made = _instance(function)
    if isinstance(made, Inert) and isinstance(arguments, tuple):
        made.arguments = arguments
    return made


def _instance(cls: Any) -> Any:
    """Return what stands for an object of this class."""
    if isinstance(cls, Global):
        if cls.name in DICTS:
            return {}
        if cls.name == "omegaconf.listconfig.ListConfig":
            return []
        return Inert(cls.name)
    return Inert("an unknown class")


def _tensor(_: Machine, storage: Any, offset: Any, size: Any, *rest: Any) -> Any:
    if not isinstance(storage, Storage):
        return Inert("a tensor without a storage")
    return Tensor(_shape_of(size), storage.dtype)


def _tensor_v3(_: Machine, storage: Any, offset: Any, size: Any, *rest: Any) -> Any:
    dtype = rest[3] if len(rest) > 3 else None  # after stride, requires_grad and hooks
    return Tensor(_shape_of(size), _dtype_of(dtype))


def _meta_tensor(_: Machine, dtype: Any, size: Any, *rest: Any) -> Any:
    return Tensor(_shape_of(size), _dtype_of(dtype))


def _wrapper_tensor(_: Machine, cls: Any, dtype: Any, size: Any, *rest: Any) -> Any:
    return Tensor(_shape_of(size), _dtype_of(dtype))


def _sparse_tensor(_: Machine, layout: Any, data: Any, *rest: Any) -> Any:
    match data:
        case (_, Tensor(dtype=dtype), size, *_):
            return Tensor(_shape_of(size), dtype)
    return Inert("a sparse tensor")


def _tensor_subclass(machine: Machine, function: Any, cls: Any, arguments: Any, *rest: Any) -> Any:
    if isinstance(function, Global) and function.name == SUBCLASS:
        raise PickleError("the pickle rebuilds a tensor in a way that torch does not")
    return _call(machine, function, arguments)


def _first(_: Machine, value: Any, *rest: Any) -> Any:
    return value


def _ordered_dict(machine: Machine, pairs: Any = (), *rest: Any) -> Any:
    content: dict[Any, Any] = {}
    for pair in _as_list(machine, pairs):
        if isinstance(pair, tuple | list) and len(pair) == 2:
            _store(content, pair)
    return content


def _as_set(machine: Machine, items: Any = (), *rest: Any) -> Unordered:
    return Unordered(_as_list(machine, items))


def _as_list(machine: Machine, items: Any = (), *rest: Any) -> list[Any]:
    if not isinstance(items, list | tuple):
        return []
    machine.spend(len(items))
    return list(items)


def _as_tuple(machine: Machine, items: Any = (), *rest: Any) -> tuple[Any, ...]:
    return tuple(_as_list(machine, items))


def _reconstructed(_: Machine, cls: Any = None, *rest: Any) -> Any:
    return _instance(cls)


def _shape_of(size: Any) -> tuple[int, ...]:
    """Return the shape that a pickle states, if a tensor can have it."""
    if (
        not isinstance(size, tuple | list)
        or len(size) > MAX_DIMENSIONS
        or not all(type(n) is int and 0 <= n < MAX_SIZE for n in size)
    ):
        raise PickleError("the pickle holds a tensor with a shape that no tensor has")
    return tuple(size)


def _dtype_of(value: Any) -> str:
    """Return the name of a dtype, such as "float16" of torch.float16."""
    return value.name.rpartition(".")[2] if isinstance(value, Global) else "unknown"


SUBCLASS = "torch._tensor._rebuild_from_type_v2"
DICTS = {
    "collections.OrderedDict", "collections.Counter", "collections.defaultdict",
    "builtins.dict", "__builtin__.dict", "omegaconf.dictconfig.DictConfig",
}  # fmt: skip
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_qtensor": _tensor,
    "torch._utils._rebuild_sparse_tensor": _sparse_tensor,
    "torch._utils._rebuild_meta_tensor_no_storage": _meta_tensor,
    "torch._utils._rebuild_wrapper_subclass": _wrapper_tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch.jit._pickle.restore_type_tag": _first,
    SUBCLASS: _tensor_subclass,
    "copyreg._reconstructor": _reconstructed,
    "copy_reg._reconstructor": _reconstructed,
    **dict.fromkeys(DICTS, _ordered_dict),
    **{
        f"{module}.{name}": function
        for module in ("builtins", "__builtin__")
        for name, function in (
            ("set", _as_set), ("frozenset", _as_set), ("list", _as_list), ("tuple", _as_tuple)
        )
    },
    "torch.Size": _as_tuple,
}  # fmt: skip


# ---------------------------------------------------------------------- what torch.load refuses

# Modules that torch lets nothing stand in for, and the operations that it follows.
BLOCKED = {"sys", "os", "posix", "nt"}
READ_BY_TORCH = {
    "PROTO", "STOP", "MARK", "GLOBAL", "NEWOBJ", "REDUCE", "BUILD", "BINPERSID",
    "APPEND", "APPENDS", "SETITEM", "SETITEMS", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3",
    "EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET", "NONE", "NEWTRUE", "NEWFALSE",
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING",
    "BINGET", "LONG_BINGET", "BINPUT", "LONG_BINPUT",
}  # fmt: skip

# What `torch.load(weights_only=True)` takes, besides the storages and dtypes of torch.
ALLOWED = {
    "_codecs.encode",
    "builtins.bytearray", "builtins.complex", "builtins.set",
    "__builtin__.bytearray", "__builtin__.complex", "__builtin__.set",
    "collections.Counter", "collections.OrderedDict",
    "torch.Size", "torch.Tensor", "torch.device", "torch.nn.parameter.Parameter",
    "torch.serialization._get_layout",
    "torch.storage.TypedStorage", "torch.storage.UntypedStorage",
    "torch._utils._rebuild_device_tensor_from_cpu_tensor",
    "torch._utils._rebuild_device_tensor_from_numpy",
    *(name for name in FUNCTIONS if name.startswith(("torch._utils.", "torch._tensor."))),
}  # fmt: skip


def refused_by_torch(names: Mapping[str, None]) -> list[str]:
    """Return the names for which `torch.load(weights_only=True)` refuses a file."""
    return [name for name in names if name not in ALLOWED and not _is_scalar_type(name)]


def _is_scalar_type(name: str) -> bool:
    """Tell whether this is a dtype or a storage class of torch."""
    module, _, attribute = name.rpartition(".")
    if attribute.endswith(("Storage", "Tensor")):
        return module in ("torch", "torch.cuda", "torch.sparse", "torch.cuda.sparse")
    return module == "torch" and DTYPE.fullmatch(attribute) is not None


DTYPE = re.compile(
    r"(b?float|b?complex|q?u?int|bits)\d+\w*|bool|per_(tensor|channel)_(affine|symmetric)\w*"
)
