"""``defectvision`` with one change: WebRTC offers 127.0.0.1, which aioice leaves out and tests keep to.

python -m tests.page.loopback_server serve
"""

from __future__ import annotations

import sys

import aioice.ice

from server import cli

if __name__ == "__main__":
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    sys.exit(cli.main())
