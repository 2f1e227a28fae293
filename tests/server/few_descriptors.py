"""``defectvision`` with no more open files than ``DESCRIPTORS`` says; the hard limit, which it cannot raise again."""

from __future__ import annotations

import os
import resource
import sys

from server import cli

if __name__ == "__main__":
    most = int(os.environ["DESCRIPTORS"])
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    sys.exit(cli.main())
