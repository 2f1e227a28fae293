"""``defectvision backup``, ``restore`` and ``downgrade``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from detector.counted import counted
from server.backup.contents import BackupError
from server.backup.going_back import History, go_back
from server.backup.making import back_up
from server.backup.restoring import restore
from server.ground import DatabaseAddress
from server.settings import Settings, SettingsError, add_data_dir, read_settings_of

HistoryOf = Callable[[Path, DatabaseAddress | None, str | None], History]
"""Of a data directory and its PostgreSQL, if it has one, on its way back to a version, or to the one before."""


def add_parsers(subparsers: argparse._SubParsersAction[argparse.ArgumentParser], history_of: HistoryOf) -> None:
    """Add them to ``defectvision``'s subcommands."""
    backup = subparsers.add_parser(
        "backup",
        help="copy the data directory into one file, also while the server runs",
        description="Copy DATA_DIR into one file: recipes, models, calibrations, cameras, sinks, keys, the access "
        "code, and the history where it is SQLite. It holds passwords: keep it as you keep those.",
    )
    backup.add_argument("file", type=Path, metavar="FILE", help="that is written, such as /mnt/backup/monday.zip")
    backup.add_argument("--pictures", action="store_true", help="with the archive of pictures, which may be many GB")
    backup.set_defaults(run=_said(_backup))
    back = subparsers.add_parser(
        "restore",
        help="put a backup back, while no server runs",
        description="Put a backup in the place of what DATA_DIR holds, which is kept aside in it. It is checked whole "
        "before anything is touched.",
    )
    back.add_argument("file", type=Path, metavar="FILE", help="a backup")
    back.set_defaults(run=_said(_restore))
    down = subparsers.add_parser(
        "downgrade",
        help="put files back as they were before an upgrade, for the older version to read",
        description="Put the files that the last upgrade wrote anew back as they were before it; then install and "
        "start the older version. What was changed in them since is kept aside.",
    )
    down.add_argument(
        "--history",
        nargs="?",
        const="",
        metavar="VERSION",
        help="the history's tables too, all entries kept: to the version that the older server says it knows, such as "
        "0001; without one, to the version before",
    )
    down.set_defaults(run=_said(partial(_downgrade, history_of)))
    for command in (backup, back, down):
        add_data_dir(command)


def _said(command: Callable[[argparse.Namespace, Settings], str]) -> Callable[[argparse.Namespace], int]:
    def run(arguments: argparse.Namespace) -> int:
        try:
            print(command(arguments, read_settings_of(arguments)))
        except (BackupError, SettingsError) as error:
            print(f"defectvision: {error}", file=sys.stderr)
            return 1
        return 0

    return run


def _backup(arguments: argparse.Namespace, settings: Settings) -> str:
    made = back_up(settings.data_dir, arguments.file, pictures=arguments.pictures)
    said = f"{made.path}: {counted(made.files, 'file')}, {made.size / 1e6:,.1f} MB"
    if not arguments.pictures:
        said += "; without the archive of pictures (--pictures)"
    if settings.database_url is not None:
        said += f"\nThe history is not in it: {settings.database_url} is backed up with pg_dump"
    if made.left_out:
        said += f"\nLeft out, for their names: {', '.join(map(repr, made.left_out[:5]))}"
    return said


def _restore(arguments: argparse.Namespace, settings: Settings) -> str:
    done = restore(arguments.file, settings.data_dir)
    said = f"{counted(done.files, 'file')} of {done.made} (DefectVision {done.software}) are back in "
    said += str(settings.data_dir.absolute())
    return f"{said}\nWhat was there before: {done.aside}" if done.aside is not None else said


def _downgrade(history_of: HistoryOf, arguments: argparse.Namespace, settings: Settings) -> str:
    history = None
    if arguments.history is not None:
        history = history_of(settings.data_dir, settings.database_url, arguments.history or None)
    done = go_back(settings.data_dir, history=history)
    files = ", ".join(done.files)
    return f"As they were before the upgrade: {files}\nWhat they replaced: {done.aside}\nNow install the older version."
