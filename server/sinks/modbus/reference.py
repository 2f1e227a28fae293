"""The map as the Markdown tables of ``docs/modbus.md``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from server.sinks.modbus.register_map import (
    BITS,
    CONTROL_AT,
    CONTROL_BITS,
    CONTROL_WORDS,
    INPUT_WORDS,
    INPUTS,
    INPUTS_AT,
    MIRROR,
    OUTPUT_WORDS,
    OUTPUTS,
    OUTPUTS_AT,
    STATUS_AT,
    STATUS_BITS,
    STATUS_WORDS,
    Control,
    Field,
    Status,
    WordKind,
    WordOrder,
    two_words,
)

EXAMPLES = (12.5, 70_007)


def reference() -> str:
    """What lies where, bit by bit and word by word."""
    return "\n\n".join(
        (
            "### Where it lies",
            _table(
                ("what", "as registers", "as bits", "access"),
                (
                    ("control", _span("holding", CONTROL_AT, CONTROL_WORDS), f"coils 0–{BITS - 1}", "read, write"),
                    ("inputs", _span("holding", INPUTS_AT, INPUT_WORDS), "", "read, write"),
                    (
                        "status",
                        f"{_span('holding', STATUS_AT, STATUS_WORDS)} and {_span('input', STATUS_AT, STATUS_WORDS)}",
                        f"discrete inputs 0–{BITS - 1}",
                        "read",
                    ),
                    (
                        "outputs",
                        f"{_span('input', OUTPUTS_AT, OUTPUT_WORDS)} and "
                        f"{_span('holding', OUTPUTS_AT + MIRROR, OUTPUT_WORDS)}",
                        "",
                        "read",
                    ),
                    (
                        "status and outputs in one read",
                        f"{_span('holding', STATUS_AT, STATUS_WORDS + OUTPUT_WORDS)} and "
                        f"{_span('input', STATUS_AT, STATUS_WORDS + OUTPUT_WORDS)}",
                        "",
                        "read",
                    ),
                ),
            ),
            "### Control",
            _bits(CONTROL_BITS),
            "### Status",
            _bits(STATUS_BITS),
            "### Inputs",
            _table(
                ("word", "holding register", "name", "type", "meaning"),
                ((_words(one), _words(one, INPUTS_AT), one.name, _kind(one), one.meaning) for one in INPUTS),
            ),
            "### Outputs",
            _table(
                (
                    "word",
                    "input register",
                    "holding register",
                    "in one read",
                    "name",
                    "type",
                    "of the result",
                    "meaning",
                ),
                (
                    (
                        _words(one),
                        _words(one, OUTPUTS_AT),
                        _words(one, OUTPUTS_AT + MIRROR),
                        _words(one, STATUS_AT + STATUS_WORDS),
                        one.name,
                        _kind(one),
                        "yes" if one.of_result else "",
                        one.meaning,
                    )
                    for one in OUTPUTS
                ),
            ),
            "### Numbers of 32 bits",
            _table(
                ("number", "high word first: registers", "bytes on the wire", "low word first: registers", "bytes"),
                (_example(number) for number in EXAMPLES),
            ),
        )
    )


def _bits(bits: Mapping[Control, tuple[str, str]] | Mapping[Status, tuple[str, str]]) -> str:
    return _table(
        ("bit", "bit in its register", "name", "meaning"),
        (
            (str(int(bit)), f"{bit % 16} of the {'second' if bit // 16 else 'first'}", name, meaning)
            for bit, (name, meaning) in bits.items()
        ),
    )


def _example(number: float) -> tuple[str, ...]:
    kind: WordKind = "float32" if isinstance(number, float) else "uint32"
    orders: tuple[WordOrder, ...] = ("high word first", "low word first")
    row = [f"{number} ({kind})"]
    for order in orders:
        first, second = two_words(number, kind, order)
        row += [f"`{first:04X}` `{second:04X}`", f"`{first:04X}{second:04X}`"]
    return tuple(row)


def _span(table: str, first: int, length: int) -> str:
    return f"{table} {first}–{first + length - 1}"


def _words(field: Field, first: int = 0) -> str:
    at = first + field.at
    return str(at) if field.length == 1 else f"{at}–{at + field.length - 1}"


def _kind(field: Field) -> str:
    return "text, 32 bytes" if field.kind == "text" else field.kind


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
