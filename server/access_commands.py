"""``defectvision user`` and ``defectvision audit``: logins and the audit log, from the machine itself.

They work on the data directory, whether a server runs there or not; one that runs notices within a second.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Callable
from pathlib import Path

from detector.counted import counted
from server.access import (
    ACCOUNTS,
    ACCOUNTS_FILE,
    AUDIT_FOLDER,
    SHARED_FILES,
    Access,
    AccessRefused,
    Account,
    Chain,
    Happened,
    PasswordsBusy,
    as_moment,
    verify,
    verify_file,
)
from server.ground import fault, in_words, only_looked_at
from server.plant import Plant, PlantAway, PlantError, document_in
from server.settings import Settings, SettingsError, add_data_dir, read_settings, read_settings_of
from server.words import now

ROLES = ("viewer", "operator", "engineer", "admin")

_WHERE = (
    "It works on the data directory, whether a server runs there or not; one that runs notices within a second. "
    "In a plant it works on the plant's logins."
)


def add_parsers(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """``user`` and ``audit``, with what each does."""
    user = subparsers.add_parser(
        "user", help="logins: add, password, list, remove", description=f"Logins, from the machine itself. {_WHERE}"
    )
    what = user.add_subparsers(required=True, metavar="WHAT")
    add = _command(what, "add", "make a login and print its password", _add)
    add.add_argument("name")
    add.add_argument("--role", choices=ROLES, default="admin", help="what it may (default: admin)")
    _add_ask(add)
    password = _command(what, "password", "give a login another password; its browsers are logged out", _password)
    password.add_argument("name")
    _add_ask(password)
    _command(what, "list", "print all logins", _list)
    remove = _command(what, "remove", "remove a login", _remove)
    remove.add_argument("name")
    remove.add_argument("--phones", action="store_true", help="revoke the phones that it paired, too")
    audit = subparsers.add_parser(
        "audit", help="the audit log: verify", description="The audit log, from the machine itself."
    )
    looks = audit.add_subparsers(required=True, metavar="WHAT")
    look = _command(looks, "verify", "look at every line of the log, and say where its chain is broken", _verify)
    look.add_argument(
        "file", nargs="?", type=Path, help="a log that was downloaded (default: that in the data directory)"
    )


def _command(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    about: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(name, help=about, description=about)
    add_data_dir(parser)
    parser.set_defaults(run=in_words(run, AccessRefused, ValueError, SettingsError, PasswordsBusy, PlantError))
    return parser


def _add_ask(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ask", action="store_true", help="ask for the password instead of making one")


def _data_dir(arguments: argparse.Namespace) -> Path:
    """The server's data directory.

    Raises:
        ValueError: there is none, so that no login is made where no server looks.
    """
    folder = read_settings_of(arguments).data_dir
    if not folder.is_dir():
        raise ValueError(f"there is no data directory {folder.absolute()}: give the server's with --data-dir")
    return folder


def _access(arguments: argparse.Namespace) -> Access:
    folder = _data_dir(arguments)
    settings = _settings_of_plant(arguments, folder)
    plant = None
    if settings is not None:
        plant = Plant.of(settings.database_url, settings.plant_store, folder, settings.gateway_name)
    plants_clock = None if plant is None else plant.now
    return Access(folder, closed=True, shelf=plant or SHARED_FILES, plants_clock=plants_clock)


def _settings_of_plant(arguments: argparse.Namespace, folder: Path) -> Settings | None:
    """The settings, where they name a plant and are those of this data directory."""
    settings = read_settings()
    ours = arguments.data_dir is None or folder.resolve() == settings.data_dir.resolve()
    return settings if ours and settings.plant_store is not None else None


def _add(arguments: argparse.Namespace) -> int:
    access = _access(arguments)
    made = access.store_account(arguments.name, arguments.role, _asked(arguments))
    _note(arguments, "Make a login", f"{arguments.name} as {arguments.role}")
    print(f"{arguments.name} may log in as {arguments.role}.")
    _print_password(made)
    return 0


def _password(arguments: argparse.Namespace) -> int:
    access = _access(arguments)
    made = access.store_password(arguments.name, _asked(arguments))
    _note(arguments, "Give a login another password", arguments.name)
    print(f"{arguments.name} has another password, and is logged out everywhere.")
    _print_password(made)
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    access = _access(arguments)
    access.store_removal(arguments.name)
    paired = len(access.phones_of(arguments.name))
    phones = counted(paired, "phone")
    if arguments.phones:
        access.store_end_of_phones(arguments.name)
    _note(arguments, "Remove a login", arguments.name + (f", and {phones} that it paired" if arguments.phones else ""))
    print(f"{arguments.name} is removed.")
    if paired:
        then = "revoked" if arguments.phones else "paired still: revoke them under Settings, or with --phones next time"
        print(f"{phones} that it paired: {then}.")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    accounts = _accounts(arguments)
    for account in accounts:
        state = "disabled" if account.disabled else ""
        print(f"{account.name:24} {account.role:10} {as_moment(account.created)} {state}".rstrip())
    if not accounts:
        path = _data_dir(arguments) / ACCOUNTS_FILE
        aside = sorted(one.name for one in path.parent.glob(f"{path.name}.damaged-*"))
        then = f" {path.with_name(aside[-1])} was set aside as damaged." if aside else ""
        print(f"There are no logins.{then}", file=sys.stderr)
    return 0


def _accounts(arguments: argparse.Namespace) -> tuple[Account, ...]:
    """All logins, only looked at: a file that cannot be used stays where it is.

    Raises:
        ValueError: it cannot be used.
    """
    folder = _data_dir(arguments)
    path = folder / ACCOUNTS_FILE
    settings = _settings_of_plant(arguments, folder)
    if settings is not None and settings.database_url is not None:
        try:
            data = document_in(settings.database_url, folder, path.name)
            return () if data is None else ACCOUNTS.decode(data)[0]
        except PlantAway as error:
            print(f"defectvision: {error}: these are the logins that this gateway knows", file=sys.stderr)
    if (words := fault(path, ACCOUNTS)) is not None:
        raise ValueError(f"{path} {words}")
    return only_looked_at(path, ACCOUNTS)


def _verify(arguments: argparse.Namespace) -> int:
    found = verify(_data_dir(arguments) / AUDIT_FOLDER) if arguments.file is None else verify_file(arguments.file)
    for words in found.broken:
        print(words)
    if found.last is None:
        print("The audit log is empty.")
    else:
        print(f"{found.entries} entries, {found.first} to {found.last}, the last one's hash {found.head}.")
    print("The chain is broken." if found.broken else "The chain holds.")
    return 1 if found.broken else 0


def _asked(arguments: argparse.Namespace) -> str | None:
    """The password that is typed, twice at a terminal, where it was to be asked for; None to have one made."""
    if not arguments.ask:
        return None
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != password:
        raise ValueError("these were two different passwords")
    return password


def _print_password(made: str | None) -> None:
    if made is not None:
        print(f"Password: {made}  (shown this once)")


def _note(arguments: argparse.Namespace, what: str, detail: str) -> None:
    """In the audit log, as far as that can be written: who has the machine has the rest, too."""
    who = os.environ.get("SUDO_USER") or _user()
    happened = Happened(now(), f"{who} at the machine", what, "command", "admin", "", detail)
    try:
        Chain(_data_dir(arguments) / AUDIT_FOLDER).add([happened])
    except OSError as error:
        print(f"defectvision: the audit log cannot be written ({error.strerror})", file=sys.stderr)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, in a container
        return "somebody"
