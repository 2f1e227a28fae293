"""Commands whose errors are one sentence."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from server.ground.not_kept import NotKept

CANNOT = 2
"""Exit code of a command that cannot do what it is asked."""


def in_words(run: Callable[[argparse.Namespace], int], *errors: type[Exception]) -> Callable[[argparse.Namespace], int]:
    """A command that prints these errors, and those of files, as a sentence, and ends with exit code 2."""

    known: tuple[type[Exception], ...] = (*errors, NotKept)

    def told(arguments: argparse.Namespace) -> int:
        try:
            return run(arguments)
        except known as error:
            print(f"defectvision: {error}", file=sys.stderr)
        except OSError as error:
            print(f"defectvision: {error.filename or 'the data directory'}: {error.strerror}", file=sys.stderr)
        return CANNOT

    return told
