"""The history as a file, made piece by piece: CSV for spreadsheets, Parquet for programs."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import io
from collections.abc import AsyncIterator, Sequence
from typing import Any, get_args, get_type_hints

import msgspec
from starlette.concurrency import run_in_threadpool

from detector.extras import to_install
from server.records import Entry, iso
from server.web.spreadsheet import cell

COLUMNS = tuple(field.name for field in msgspec.structs.fields(Entry))
_TIMES = ("at", "began_at", "disposed_at")
NO_PARQUET = f"Parquet needs one more package on the server: {to_install('parquet')}; CSV needs none"


async def as_csv(pieces: AsyncIterator[list[Entry]]) -> AsyncIterator[bytes]:
    """UTF-8 with a mark before it, which Excel asks for; RFC 4180."""
    yield b"\xef\xbb\xbf" + _lines([COLUMNS])
    async for piece in pieces:
        yield await run_in_threadpool(_entries_lines, piece)


def _entries_lines(entries: Sequence[Entry]) -> bytes:
    return _lines([[_cell(entry, name) for name in COLUMNS] for entry in entries])


def _lines(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _cell(entry: Entry, name: str) -> str:
    value = getattr(entry, name)
    if value is None:
        return ""
    if name in _TIMES:
        return iso(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return cell(value)
    return repr(value)


def has_parquet() -> bool:
    return importlib.util.find_spec("pyarrow") is not None


async def as_parquet(pieces: AsyncIterator[list[Entry]]) -> AsyncIterator[bytes]:
    """One row group a piece; times are timestamps in UTC."""
    await run_in_threadpool(importlib.import_module, "pyarrow.parquet")  # takes a fifth of a second
    import pyarrow
    from pyarrow import parquet

    class Sink(io.RawIOBase):
        """What was written since it was last asked."""

        def __init__(self) -> None:
            self.data, self.size = bytearray(), 0

        def writable(self) -> bool:
            return True

        def tell(self) -> int:
            return self.size

        def write(self, data: Any) -> int:
            self.data += data
            self.size += len(data)
            return len(data)

        def take(self) -> bytes:
            data, self.data = bytes(self.data), bytearray()
            return data

    kinds = {
        str: pyarrow.string(),
        int: pyarrow.int64(),
        float: pyarrow.float64(),
        bool: pyarrow.bool_(),
    }
    schema = pyarrow.schema(
        [(name, pyarrow.timestamp("ms", "UTC") if name in _TIMES else kinds[_kind(name)]) for name in COLUMNS]
    )
    sink = Sink()
    writer = await run_in_threadpool(lambda: parquet.ParquetWriter(sink, schema, compression="snappy"))

    def write(piece: list[Entry]) -> bytes:
        columns = {name: [getattr(entry, name) for entry in piece] for name in COLUMNS}
        writer.write_table(pyarrow.table(columns, schema))
        return sink.take()

    async for piece in pieces:
        yield await run_in_threadpool(write, piece)
    await run_in_threadpool(writer.close)
    yield sink.take()


def _kind(name: str) -> type:
    """What a column holds, where it holds something."""
    hint = get_type_hints(Entry)[name]
    kinds = {hint, *get_args(hint)}
    return next((kind for kind in (float, bool, int) if kind in kinds), str)
