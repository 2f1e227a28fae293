"""What is answered when a change of who may what cannot be."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from server.access import AccessRefused, NoSuch, PasswordsBusy
from server.ground import why_not_kept
from server.web.answers import Refused

NOT_STORED = "the data directory cannot be written; nothing was changed"


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """Have refusals of the room below answered as they should be."""
    try:
        yield
    except NoSuch as error:
        raise Refused(404, str(error)) from error
    except AccessRefused as error:
        raise Refused(409, f"{error}; nothing was changed") from error
    except ValueError as error:
        raise Refused(422, f"{error}; nothing was changed") from error
    except PasswordsBusy as error:
        raise Refused(503, str(error)) from error
    except OSError as error:
        raise Refused(507, why_not_kept(error)) from error
