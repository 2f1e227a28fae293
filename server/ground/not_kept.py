"""Why something could not be stored, in words."""

from __future__ import annotations


class NotKept(OSError):
    """It could not be stored, for a reason that is no disk's: the message is one sentence that says why and what to
    do. Nothing was changed, unless it says that this is not known."""


def why_not_kept(error: OSError) -> str:
    """One sentence for whoever wanted something stored."""
    if isinstance(error, NotKept):
        return str(error)
    return f"the data directory cannot be written ({error.strerror or error}); nothing was changed"
