"""What topics are called: PREFIX/NODE/STREAM/WHAT."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from server.words import check_name

ONLINE, OFFLINE = b"online", b"offline"


@dataclass(frozen=True)
class Topics:
    """Attributes:
    base: what all of this server's begin with.
    discovery_prefix: where Home Assistant listens.
    """

    base: str
    discovery_prefix: str = "homeassistant"

    @property
    def status(self) -> str:
        """Whether this server is there."""
        return f"{self.base}/status"

    @property
    def test(self) -> str:
        return f"{self.base}/test"

    def of(self, stream: str, what: str) -> str:
        return f"{self.base}/{stream}/{what}"

    def of_all(self, what: str) -> str:
        """A filter that hears ``what`` of all streams."""
        return self.of("+", what)

    def read(self, topic: str) -> tuple[str, str] | None:
        """Stream and what of a topic; None where it is not one of a stream's."""
        if not topic.startswith(f"{self.base}/"):
            return None
        stream, _, what = topic.removeprefix(f"{self.base}/").partition("/")
        try:
            return check_name(stream), what
        except ValueError:
            return None

    def discovery(self, stream: str) -> str:
        return f"{self.discovery_prefix}/device/{self.object_id(stream)}/config"

    def object_id(self, stream: str) -> str:
        """What Home Assistant calls a stream: of letters, digits, underscore and hyphen; no two have the same."""
        name = f"{self.base}/{stream}"
        plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)
        # What was replaced makes two names one, so what they were goes along.
        return f"{plain}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"

    def may_answer_on(self, topic: str) -> bool:
        """Whether an asker may have his answer there: nowhere where it would be taken for something of ours, or of
        Home Assistant's or Sparkplug's."""
        ours = (self.base, self.discovery_prefix, "spBv1.0")
        return (
            0 < len(topic) <= 256
            and topic.isprintable()
            and not re.search(r"[+#]", topic)
            and not topic.startswith("$")
            and not any(topic == one or topic.startswith(f"{one}/") for one in ours)
        )
