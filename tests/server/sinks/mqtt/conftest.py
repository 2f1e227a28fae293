"""Without aiomqtt only what needs none is collected; test_told.py says so."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore = (
    []
    if find_spec("aiomqtt") is not None
    else ["test_broker.py", "test_commands.py", "test_home_assistant.py", "test_sink.py", "sparkplug"]
)
