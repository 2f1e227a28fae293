"""Uploads with limits that hold before anything is read into memory."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from server.ground import Refusals, source_of
from server.web.held import Held, Share

MAX_CALIBRATION = 20
"""Of so many times the largest file is all of a calibration, at most."""

OVERHEAD = 64 * 1024
"""Bytes allowed for multipart headers and small fields beside the files."""


LONGEST_NAME = 200
"""Characters of a file's name; the rest is cut off."""


class TooLarge(Exception):
    """The upload is over the limit; the message says which."""


class Crowded(Exception):
    """Too much is being uploaded at once."""


class BadUpload(Exception):
    """The request is not the multipart form that was asked for."""


@dataclass(frozen=True)
class Upload:
    """One uploaded file, whole in memory."""

    filename: str
    data: bytes


@dataclass(frozen=True)
class Form:
    """A multipart form: its files under one field name, those under a second one, and its text fields."""

    files: tuple[Upload, ...]
    others: tuple[Upload, ...]
    fields: dict[str, str]


def uploads_held(max_file: int) -> Held:
    """The memory for uploads at once: one calibration of :data:`MAX_CALIBRATION` files from one address, and some."""
    return Held(32 * max_file, (MAX_CALIBRATION + 4) * max_file, "uploads", Refusals())


def source_of_request(request: Request) -> str:
    """Whom a request comes from, where uploads are counted."""
    return source_of(request.client.host) if request.client else "this machine"


async def read_form(
    request: Request,
    field: str,
    *,
    share: Share,
    max_file: int,
    max_total: int,
    max_files: int,
    other: str | None = None,
) -> Form:
    """Read a multipart form that carries files under ``field``, and perhaps some under ``other``.

    Whoever stops sending, or drips, is let go by :class:`BoundedHTTP`.

    Args:
        share: of the memory for uploads; what is read counts there until it is released.
        max_file: bytes of one file; ``max_total``: of all; ``max_files``: how many.

    Raises:
        TooLarge: the Content-Length says so (nothing is read then), or more came than was said, or one file is.
        Crowded: others send more than the memory for uploads holds, and this one has been unfinished for longest.
        BadUpload: not multipart, damaged, too many files, or none under that name.
    """
    limit = max_total + OVERHEAD
    too_large = TooLarge(f"the upload is over {max_total / 1e6:g} MB: send less, or raise MAX_UPLOAD_MB")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise too_large
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise BadUpload(f"send multipart/form-data with the field {field!r}")

    async def counted() -> AsyncGenerator[bytes, None]:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise too_large
            share.resize(size)
            if share.let_go_of:
                raise crowded
            yield chunk

    crowded = Crowded("too much is being uploaded at once: try again in a moment")
    parser = _InMemoryParser(request.headers, counted(), max_files=max_files, max_fields=16)
    parser.spool_max_size = limit
    try:
        async with asyncio.timeout(None) as patience:
            loop = asyncio.get_running_loop()
            share.let_go = lambda: patience.reschedule(loop.time())
            form = await parser.parse()
    except TimeoutError as error:
        raise crowded from error
    except MultiPartException as error:
        raise BadUpload(f"the multipart form cannot be read: {error.message}") from error
    except UnicodeError as error:  # some of Python's codecs decode nothing, whatever comes
        raise BadUpload("the multipart form's charset cannot be used: send UTF-8") from error
    except KeyError as error:  # a Content-Type without a boundary
        raise BadUpload("the multipart form has no boundary") from error
    share.finish()
    try:
        found = {
            name: [value for value in form.getlist(name) if isinstance(value, UploadFile)]
            for name in (field, other)
            if name
        }
        for file in itertools.chain(*found.values()):
            if (file.size or 0) > max_file:
                raise TooLarge(
                    f"{_name(file, 'a file')} is over {max_file / 1e6:g} MB: send a smaller one, or raise MAX_UPLOAD_MB"
                )
        if not found[field]:
            raise BadUpload(f"there is no file under the field {field!r}")
        uploads = {name: await _taken(files) for name, files in found.items()}
        fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
    finally:
        await form.close()
    return Form(uploads[field], uploads.get(other or "", ()), fields)


async def _taken(files: Sequence[UploadFile]) -> tuple[Upload, ...]:
    """One after the other, each let go of at once: a copy of 200 MB would hold up the event loop."""
    taken = []
    for number, file in enumerate(files, 1):
        taken.append(Upload(_name(file, f"picture {number}"), await file.read()))
        await file.close()
        await asyncio.sleep(0)
    return tuple(taken)


def _name(file: UploadFile, otherwise: str) -> str:
    """A name of somebody's, as it may be told and stored: by some charsets it holds what no UTF-8 can."""
    return "".join(sign for sign in file.filename or "" if sign.isprintable())[:LONGEST_NAME] or otherwise


class _InMemoryParser(MultiPartParser):
    """Keeps files in memory up to the limit: nothing is written outside the data directory, not even shortly."""
