"""A look at this very server as a client takes one: by its address and security. Only in the process that serves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from asyncua.crypto.uacrypto import CertProperties

from server.sinks.opcua.model import STANDARD, SYSTEM
from server.sinks.opcua.security import KEY, OWN
from server.sinks.opcua.words import Begin, Seen

WITHIN_S = 12.0
_NAMED = 8
"""Streams of which it is said how they are."""


async def look(begin: Begin) -> Seen:
    """Args:
    begin: with the port that it got.
    """
    try:
        async with asyncio.timeout(WITHIN_S):
            return Seen(True, await _look(begin))
    except TimeoutError:
        return Seen(False, "it does not answer in time")
    except ua.UaStatusCodeError as error:
        return Seen(False, f"it refuses ({type(error).__name__})")
    except OSError as error:
        return Seen(False, f"it cannot be reached ({error.strerror or type(error).__name__})")
    except Exception as error:  # whatever asyncua makes of what it reads
        return Seen(False, f"it answers what it should not ({type(error).__name__})")


async def _look(begin: Begin) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(begin.host, begin.host)
    address = f"opc.tcp://{f'[{host}]' if ':' in host else host}:{begin.port}/"
    client = Client(address, timeout=WITHIN_S)
    client.application_uri = begin.uri
    if begin.user:
        client.set_user(begin.user)
        client.set_password(begin.password)
    if begin.encrypted:
        folder = Path(begin.folder)
        # The server's own, which it trusts.
        await client.set_security(
            SecurityPolicyBasic256Sha256, CertProperties(folder / OWN, "der"), CertProperties(folder / KEY, "pem")
        )
    async with client:
        return f"{address} answers{' over an encrypted channel' if begin.encrypted else ''}: {await _states(client)}"


async def _states(client: Any) -> str:
    standard = await client.get_namespace_index(STANDARD)
    found = []
    for node in await client.nodes.objects.get_children():
        if await node.read_type_definition() != ua.NodeId(SYSTEM, standard):
            continue
        name = (await node.read_browse_name()).Name
        machine = await node.get_child(ua.QualifiedName("VisionStateMachine", standard))
        state = await machine.get_child(ua.QualifiedName("CurrentState", 0))
        found.append(f"{name} is {(await state.read_value()).Text}")
        if len(found) == _NAMED:
            break
    return ", ".join(found) or "no stream runs"
