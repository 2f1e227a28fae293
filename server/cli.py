"""The ``defectvision`` command."""

from __future__ import annotations

import argparse
import sys

from server import camera_process, logs, serve
from training import commands as training_commands


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code (2: the command cannot be run as given)."""
    parser = argparse.ArgumentParser(
        prog="defectvision", description="Real-time visual inspection that learns from good parts only."
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    serve.add_parser(subparsers)
    training_commands.add_parsers(subparsers)
    camera_process.add_parser(subparsers)
    parsed = parser.parse_args(arguments)
    logs.set_up()
    return int(parsed.run(parsed))


if __name__ == "__main__":
    sys.exit(main())
