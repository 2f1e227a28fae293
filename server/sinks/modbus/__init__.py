"""Modbus TCP: a server that a line's controllers poll, a thin face on the handshake."""

from server.sinks.modbus.server import MODBUS

__all__ = ["MODBUS"]
