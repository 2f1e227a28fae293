"""Learning ahead: while nothing more is shown, so that little is left to do after Done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from detector import TaughtModel

Learn = Callable[[Sequence[str], str, Callable[[float], None]], TaughtModel]
"""From the pictures at some paths, of parts that are called so, telling its progress."""


class _Stopped(Exception):
    """Nobody wants it any more."""


class Rehearsal:
    """Learns in a thread of its own, from its beginning on.

    Attributes:
        about: the paths, and what the parts are called.
        fraction: of it that is done, 0..1.
    """

    def __init__(self, learn: Learn, paths: Sequence[str], category: str) -> None:
        self.about = (list(paths), category)
        self.fraction = 0.0
        self._learn = learn
        self._stopped = threading.Event()
        self._outcome: TaughtModel | Exception = _Stopped()
        self._thread = threading.Thread(target=self._run, name="rehearsal", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Give up at the next step."""
        self._stopped.set()

    def wait(self, seconds: float) -> bool:
        """Whether it is over, after so many seconds at the most."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def model(self) -> TaughtModel:
        """What came of it, once it is over.

        Raises:
            Exception: whatever learning raised.
        """
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome

    def _run(self) -> None:
        try:
            self._outcome = self._learn(*self.about, self._note)
        except Exception as error:
            self._outcome = error

    def _note(self, fraction: float) -> None:
        self.fraction = fraction
        if self._stopped.is_set():
            raise _Stopped
