"""How large a request's address and headers may be: what reads them then costs little, whatever is written in them.

The longest that browsers and machines send are cookies (other programs' on the same host, some kilobytes) and a page's
address with its query.
"""

from __future__ import annotations

from starlette.types import Scope

LONGEST_PATH = 1024
LONGEST_QUERY = 4096
LONGEST_HEADER = 16 * 1024
MOST_HEADERS = 128


def fault(scope: Scope) -> tuple[int, str] | None:
    """Status code and one sentence for a request whose address or headers are absurd; None for any other."""
    if len(scope["path"]) > LONGEST_PATH or len(scope["query_string"]) > LONGEST_QUERY:
        return 414, f"the address is too long: at most {LONGEST_PATH} characters, and {LONGEST_QUERY} after the ?"
    if len(scope["headers"]) > MOST_HEADERS:
        return 431, f"there are {len(scope['headers'])} headers: send at most {MOST_HEADERS}"
    for name, value in scope["headers"]:
        if len(name) + len(value) > LONGEST_HEADER:
            shown = name[:40].decode("latin-1")
            return 431, f"the header {shown} is too long: send at most {LONGEST_HEADER} bytes (are these old cookies?)"
    return None
