"""The offline commands: each module adds its parser, which sets ``run``, from parsed arguments to the exit status."""

from __future__ import annotations

import argparse

from training.commands import benchmark, compare, evaluate, export, lighting, train


def add_parsers(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add every command of this package."""
    for command in (train, evaluate, export, compare, lighting, benchmark):
        command.add_parser(subparsers)
