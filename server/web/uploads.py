"""Uploads with limits that hold before anything is read into memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

SILENCE_S = 15.0
"""How long a sender may say nothing in the middle of its upload."""

OVERHEAD = 64 * 1024
"""Bytes allowed for multipart headers and small fields beside the files."""


class TooLarge(Exception):
    """The upload is over the limit; the message says which."""


class Abandoned(Exception):
    """Nothing more came of the upload."""


class BadUpload(Exception):
    """The request is not the multipart form that was asked for."""


@dataclass(frozen=True)
class Upload:
    """One uploaded file, whole in memory."""

    filename: str
    data: bytes


@dataclass(frozen=True)
class Form:
    """A multipart form: its files under one field name, and its text fields."""

    files: tuple[Upload, ...]
    fields: dict[str, str]


async def read_form(request: Request, field: str, *, max_file: int, max_total: int, max_files: int) -> Form:
    """Read a multipart form that carries files under ``field``.

    Args:
        max_file: bytes of one file; ``max_total``: of all; ``max_files``: how many.

    Raises:
        TooLarge: the Content-Length says so (nothing is read then), or more came than was said, or one file is.
        Abandoned: nothing more came for :data:`SILENCE_S`: a phone that lost its Wi-Fi does not hang up, and would
            hold its turn for ever.
        BadUpload: not multipart, damaged, too many files, or none under that name.
    """
    limit = max_total + OVERHEAD
    too_large = TooLarge(f"the upload is over {max_total / 1e6:g} MB: send less, or raise MAX_UPLOAD_MB")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise too_large
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise BadUpload(f"send multipart/form-data with the field {field!r}")

    async def counted() -> AsyncGenerator[bytes, None]:
        size, chunks = 0, aiter(request.stream())
        while True:
            try:
                async with asyncio.timeout(SILENCE_S):
                    chunk = await anext(chunks, None)
            except TimeoutError as error:
                raise Abandoned(f"nothing more came of the upload for {SILENCE_S:g} s: send it again") from error
            if chunk is None:
                return
            size += len(chunk)
            if size > limit:
                raise too_large
            yield chunk

    parser = _InMemoryParser(request.headers, counted(), max_files=max_files, max_fields=16)
    parser.spool_max_size = limit
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise BadUpload(f"the multipart form cannot be read: {error.message}") from error
    except KeyError as error:  # a Content-Type without a boundary
        raise BadUpload("the multipart form has no boundary") from error
    try:
        files = [value for value in form.getlist(field) if isinstance(value, UploadFile)]
        for file in files:
            if (file.size or 0) > max_file:
                raise TooLarge(
                    f"{file.filename} is over {max_file / 1e6:g} MB: send a smaller one, or raise MAX_UPLOAD_MB"
                )
        if not files:
            raise BadUpload(f"there is no file under the field {field!r}")
        uploads = [Upload(file.filename or f"picture {n}", await file.read()) for n, file in enumerate(files, 1)]
        fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
    finally:
        await form.close()
    return Form(tuple(uploads), fields)


class _InMemoryParser(MultiPartParser):
    """Keeps files in memory up to the limit: nothing is written outside the data directory, not even shortly."""
