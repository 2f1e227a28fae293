"""The ``defectvision`` command."""

from __future__ import annotations

import argparse
import sys

from server import camera_process, logs
from training import commands as training_commands


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code (2: the command cannot be run as given)."""
    parser = argparse.ArgumentParser(
        prog="defectvision", description="Real-time visual inspection that learns from good parts only."
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(subparsers)
    training_commands.add_parsers(subparsers)
    camera_process.add_parser(subparsers)
    parsed = parser.parse_args(arguments)
    logs.set_up()
    return int(parsed.run(parsed))


def _add_serve(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "serve",
        help="start the server",
        description="Start the server. Settings come from the environment or a .env file (see the README); "
        "what is given here wins.",
    )
    parser.add_argument("--host", help="address to listen on (HOST; default 127.0.0.1, 0.0.0.0 for the whole network)")
    parser.add_argument("--port", help="port to listen on (PORT; default 8000)")
    parser.add_argument("--model", metavar="FOLDER", help="model to inspect with (MODEL_PATH)")
    parser.add_argument("--https", action="store_true", help="speak https, with a certificate made here (HTTPS)")
    parser.add_argument("--cert", metavar="FILE", help="your own certificate, PEM (CERT_FILE); implies --https")
    parser.add_argument("--key", metavar="FILE", help="its private key, PEM (KEY_FILE)")
    parser.set_defaults(run=_serve)


def _serve(arguments: argparse.Namespace) -> int:
    from server import serve  # the web parts take their time, and the other commands need none of them

    return serve.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
