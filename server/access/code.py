"""The access code: one that may everything, chosen as ``ACCESS_CODE`` or made by versions before there were logins."""

from __future__ import annotations

import hmac
import logging
import re
from pathlib import Path

from detector.files import read_at_most, set_aside
from server.ground import private_file

FILE = "access_code"
SHORTEST = 8
_LONGEST = 200
_LONGEST_TYPED = 4 * _LONGEST
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # 32 signs, without I, L, O and U
_READ_AS = str.maketrans("ILO", "110", "- \t")  # what people type when they mean a digit, or see a group
_MADE = re.compile(f"[{_ALPHABET}]{{12}}")

_log = logging.getLogger("defectvision.access")


class AccessCodeError(Exception):
    """An access code that cannot be used; one sentence for the operator."""


def load_code(data_dir: Path, env_value: str | None) -> str | None:
    """The access code in force: ``ACCESS_CODE``, or the one in ``DATA_DIR/access_code``, where versions before there
    were logins made one; None where there is neither.

    The file is kept with mode 0600. One that is damaged is set aside, and reported in the log.

    Args:
        data_dir: The server's data folder.
        env_value: The environment's ``ACCESS_CODE``; None or blank when it is not set.

    Raises:
        AccessCodeError: ``ACCESS_CODE`` is too short or cannot be typed, or the file cannot be read.
    """
    if env_value is not None and env_value.strip():
        code = env_value.strip()
        if (fault := _fault(code)) is not None:
            raise AccessCodeError(f"ACCESS_CODE {fault}: set another, or leave it empty and log in")
        return code
    path = data_dir / FILE
    try:
        return _load(path)
    except OSError as error:
        raise AccessCodeError(
            f"cannot read the access code in {path} ({error.strerror or error}): "
            "let this user read it, remove it, or set ACCESS_CODE"
        ) from error


def same_code(given: str, code: str) -> bool:
    """Whether `given` is the code, in a time that does not depend on how much of it is right.

    A code of the kind that was made here (``7KQ2-M9XR-4TBD``) may be typed in lower case, without the dashes, and with
    an O for a zero or an I or L for a one. Any other has to be typed as it is.
    """
    return hmac.compare_digest(canonical(given), canonical(code))


def canonical(text: str) -> bytes:
    """What a code is compared by: codes that differ only in how they were typed have the same."""
    if len(text) > _LONGEST_TYPED:
        return b""  # longer than any code, and not worth reading
    folded = text.upper().translate(_READ_AS)
    # surrogatepass: whatever arrives in a header or form can be compared, and is simply wrong.
    return (folded if _MADE.fullmatch(folded) else text.strip()).encode("utf-8", "surrogatepass")


def _load(path: Path) -> str | None:
    try:
        if private_file.close_to_others(path):
            _log.warning("%s was open to other users of this machine; this was corrected.", path)
        # Longer than any code on purpose: a wrong file must not be cut into a code.
        code = read_at_most(path, 2 * _LONGEST).decode("utf-8", "replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if (fault := _fault(code)) is None:
        return code
    aside = set_aside(path)
    _log.warning("%s %s; it is now %s, and no access code is taken any more.", path, fault, aside.name)
    return None


def _fault(code: str) -> str | None:
    if len(code) < SHORTEST:
        return f"is shorter than {SHORTEST} characters"
    if len(code) > _LONGEST:
        return f"is longer than {_LONGEST} characters"
    if not (code.isascii() and code.isprintable()):
        return "has characters that a header cannot carry"
    return None
