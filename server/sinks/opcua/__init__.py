"""This server as an OPC UA server, after OPC 40100-1 (Machine Vision).

Here lies all of it: the form (``settings``), the sink (``sink``), and the process that it starts (``process`` and what
that imports, asyncua among it, which nothing else does).
"""

from server.sinks.kind import Kind
from server.sinks.opcua.settings import OpcUaSettings, check
from server.sinks.opcua.sink import OpcUa

OPCUA = Kind(
    name="opcua",
    title="OPC UA",
    about="An OPC UA server: states, triggers, recipes and results after OPC 40100-1, for PLCs, HMIs and SCADA.",
    settings=OpcUaSettings,
    make=OpcUa,
    check=check,
    extra="opcua",
    modules=("asyncua",),
    is_told=False,
    is_apart=True,
    keeps=False,  # triggers are numbered from 1 at every start: an old part's would be taken for a new job's
)

__all__ = ["OPCUA"]
