"""``python -m server.sinks.modbus``: the tables of the register map for ``docs/modbus.md``."""

from __future__ import annotations

from server.sinks.modbus.reference import reference

if __name__ == "__main__":
    print(reference())
