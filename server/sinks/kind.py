"""What there is to know of a kind of sinks before one is made: its words, its form, and how it is checked and made."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import msgspec
from msgspec import Struct, inspect

from detector.extras import to_install
from server.sinks.sink import Line, Sink

S = TypeVar("S", bound=Struct)

FieldKind = Literal["text", "lines", "number", "whole", "yes_no", "choice"]


WORDS = {"`int`": "a whole number", "`float`": "a number", "`str`": "text", "`bool`": "yes or no", "`null`": "nothing"}
"""Of msgspec's, for operators."""


@dataclass(frozen=True)
class Around:
    """What a sink may know of the server it lives in.

    Attributes:
        id: of the sink; ``name``: what the operator calls it.
        data_dir: nothing is written outside of it,
        folders: but below these, which the operator named in the setting SINK_FOLDERS.
        line: what a plant may ask; None where nothing can be asked.
        address: where others find this server, ends with a slash; None where nobody said it.
        streams: of which the sink is told; none: of all.
    """

    id: str
    name: str
    data_dir: Path
    folders: tuple[Path, ...] = ()
    line: Line | None = None
    address: str | None = None
    streams: tuple[str, ...] = ()


def no_check(settings: Any, around: Around) -> None:
    """Every such settings can be."""


@dataclass(frozen=True)
class Kind(Generic[S]):
    """A kind of sinks: all that the rest of the server knows of it.

    Attributes:
        name: in sinks.json and in the API; never changes.
        title: what the page calls it; ``about``: one sentence, what it is good for.
        settings: a frozen Struct of text, numbers, yes or no, and choices. ``Meta`` of a field has ``title`` and
            ``description``, and in ``extra``: ``secret`` (never told back), ``lines`` (text of several lines), ``more``
            (shown under More), ``placeholder``, ``unit``, ``makes`` (what the page can make by chance: whsec).
        make: a sink; light, on the event loop, imports its library inside. Raises SinkError.
        check: raises ValueError, one sentence, where no such sink can be.
        extra: of this package, which it needs; ``modules``: of other packages, to be imported for it.
        warm: modules that those import late, on the event loop, with tens of milliseconds; imported before, if there.
        peer: fields that say with whom it talks: when one changes, secrets have to be given again, so that none is
            sent to somebody it was not meant for.
        is_told: whether the operator chooses what it is told; a server that shows how things are is told as by default.
        pictures: whether it wants what was seen, pictures included.
        keeps: whether what waits when the server is stopped goes out after the next start.
        acts: whether it moves something with each verdict: one that stands is no news to it after a change, as it is to
            what shows how things are.
        longest_wait_s: between two tries.
        is_apart: whether it runs in a process of its own, so that nothing is to be imported for it here.
        fields: of its form, made from ``settings``.
    """

    name: str
    title: str
    about: str
    settings: type[S]
    make: Callable[[S, Around], Sink]
    check: Callable[[S, Around], None] = no_check
    extra: str | None = None
    modules: tuple[str, ...] = ()
    warm: tuple[str, ...] = ()
    peer: tuple[str, ...] = ()
    is_told: bool = True
    pictures: bool = False
    keeps: bool = True
    acts: bool = False
    longest_wait_s: float = 30.0
    is_apart: bool = False
    fields: tuple[Field, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", fields_of(self.settings))

    @property
    def missing(self) -> str | None:
        """What has to be installed, one sentence; None where everything is there."""
        if all(_is_there(module) for module in self.modules):
            return None
        how = f": {to_install(self.extra)}, then start again" if self.extra is not None else ""
        return f"it needs a package that is not installed{how}"

    @property
    def secrets(self) -> frozenset[str]:
        return frozenset(one.name for one in self.fields if one.secret)

    def preload(self) -> None:
        """Import what it needs; may take seconds, so it is for a thread."""
        for module in () if self.is_apart else self.modules:
            importlib.import_module(module)
        for module in self.warm:
            with contextlib.suppress(ImportError):
                importlib.import_module(module)

    def read(self, settings: Mapping[str, Any], around: Around) -> S:
        """Settings as they lie in a file or come in a request.

        Raises:
            ValueError: no such sink can be; one sentence that repeats no value.
        """
        try:
            found = msgspec.convert(dict(settings), self.settings, strict=True)
        except msgspec.ValidationError as error:
            raise ValueError(self._in_words(str(error))) from None
        self.check(found, around)
        return found

    def _in_words(self, error: str) -> str:
        """msgspec says ``Expected `str` of length <= 3 - at `$.url```."""
        what = error.partition(" - at ")[0]
        for theirs, ours in WORDS.items():
            what = what.replace(theirs, ours)
        for one in self.fields:
            if error.endswith(f"`$.{one.name}`"):
                return f"{one.title}: {what[:1].lower()}{what[1:]}"
        return f"its settings: {what[:200]}"


@dataclass(frozen=True)
class Field:
    """One field of a kind's form.

    Attributes:
        default: None where there is none; of a secret, never told.
    """

    name: str
    title: str
    about: str
    kind: FieldKind
    required: bool
    default: str | float | bool | None
    secret: bool = False
    more: bool = False
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    longest: int | None = None
    placeholder: str = ""
    unit: str = ""
    makes: str = ""


def fields_of(settings: type[Struct]) -> tuple[Field, ...]:
    info = inspect.type_info(settings)
    assert isinstance(info, inspect.StructType)
    return tuple(_field(one) for one in info.fields)


def _field(one: inspect.Field) -> Field:
    kind, said, extra = one.type, dict[str, Any](), dict[str, Any]()
    while isinstance(kind, inspect.Metadata | inspect.UnionType):
        if isinstance(kind, inspect.UnionType):  # something or nothing
            (kind,) = (member for member in kind.types if not isinstance(member, inspect.NoneType))
            continue
        said |= kind.extra_json_schema or {}
        extra |= kind.extra or {}
        kind = kind.type
    default = None if one.default is msgspec.NODEFAULT else one.default
    made = Field(
        name=one.encode_name,
        title=said["title"],
        about=said.get("description", ""),
        kind="text",
        required=one.required,
        default=default,
        secret=extra.get("secret", False),
        more=extra.get("more", False),
        placeholder=extra.get("placeholder", ""),
        unit=extra.get("unit", ""),
        makes=extra.get("makes", ""),
    )
    match kind:
        case inspect.StrType():
            return replace(made, kind="lines" if extra.get("lines") else "text", longest=kind.max_length)
        case inspect.IntType() | inspect.FloatType():
            whole: FieldKind = "whole" if isinstance(kind, inspect.IntType) else "number"
            return replace(made, kind=whole, least=kind.ge, most=kind.le)
        case inspect.BoolType():
            return replace(made, kind="yes_no")
        case inspect.LiteralType():
            return replace(made, kind="choice", choices=tuple(map(str, kind.values)))
    raise TypeError(f"{one.name}: a form has no field for {kind}")


@cache
def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
