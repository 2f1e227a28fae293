"""``python -m server.words``: the tables of messages for ``docs/protocol.md``."""

from __future__ import annotations

from server.words.messages import reference

if __name__ == "__main__":
    print(reference())
