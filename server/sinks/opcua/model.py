"""The types of OPC 40100-1 in a server's address space, and instances of them. Only in the process that serves.

``Opc.Ua.MachineVision.NodeSet2.xml`` beside this file is the OPC Foundation's nodeset 1.0.0, as the npm package
node-opcua-nodesets 2.185.0 carries it, unchanged from there (its licence stands in it).
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from asyncua import ua
from asyncua.common.events import get_event_obj_from_type_node
from asyncua.common.instantiate_util import instantiate

NODESET = Path(__file__).with_name("Opc.Ua.MachineVision.NodeSet2.xml")
STANDARD = "http://opcfoundation.org/UA/MachineVision"
OWN = "urn:defectvision:line"
"""The namespace of what the standard does not have."""

EventName = Literal["ResultReady", "StateChanged", "Error", "ErrorResolved", "JobStarted", "Ready", "RecipePrepared"]

_EVENTS: Mapping[str, int] = {
    "ResultReady": 1024,
    "StateChanged": 1018,
    "Error": 1019,
    "ErrorResolved": 1020,
    "JobStarted": 1013,
    "Ready": 1023,
    "RecipePrepared": 1022,
    "Refused": 1038,
}
"""Types by their numbers in the standard's namespace; Refused is a VisionInformationEventType."""
SYSTEM, VISION_MACHINE, AUTOMATIC_MACHINE = 1003, 1017, 1021
ID_BASE = 3019
RECIPE_MANAGEMENT, RESULT_MANAGEMENT, RESULT_FOLDER, RESULT = 1004, 1007, 1016, 2002
SELECT_MODE_AUTOMATIC, RELEASE_RECIPE, RELEASE_RESULT = 7095, 7056, 7090

Method = Callable[..., Awaitable[Any]]
Value = tuple[Any, Any]
"""A value and its variant type."""


@dataclass(frozen=True)
class Model:
    """The types, as they lie in one server.

    Attributes:
        standard: index of the standard's namespace; ``own``: of ours.
        states: ids of states and transitions by machine and name.
    """

    server: Any
    standard: int
    own: int
    states: Mapping[tuple[str, str], Any]
    _events: Mapping[str, Any]

    @staticmethod
    async def load(server: Any) -> Model:
        """Import the types; after ``init`` and before ``start``, as asyncua wants it. Takes seconds."""
        await server.import_xml(str(NODESET))
        standard = await server.get_namespace_index(STANDARD)
        own = await server.register_namespace(OWN)
        await _mend_ids(server, standard)
        states = {}
        for machine, number in (("vision", VISION_MACHINE), ("automatic", AUTOMATIC_MACHINE)):
            for node in await server.get_node(ua.NodeId(number, standard)).get_children():
                states[machine, (await node.read_browse_name()).Name] = node.nodeid
        events = {
            name: await get_event_obj_from_type_node(server.get_node(ua.NodeId(number, standard)))
            for name, number in _EVENTS.items()
        }
        return Model(server, standard, own, states, events)

    def name(self, text: str) -> Any:
        """A browse name of the standard's."""
        return ua.QualifiedName(text, self.standard)

    async def add(self, parent: Any, id: str, name: Any, kind: int) -> Any:
        """An object of one of the standard's types, with what that makes mandatory."""
        return await parent.add_object(
            ua.NodeId(id, self.own), name, objecttype=ua.NodeId(kind, self.standard), instantiate_optional=False
        )

    async def add_result(self, parent: Any, id: str, name: Any) -> Any:
        """A variable of the standard's ResultType, with all that it may have."""
        kind = self.server.get_node(ua.NodeId(RESULT, self.standard))
        (made, *_) = await instantiate(parent, kind, nodeid=ua.NodeId(id, self.own), bname=name)
        return made

    async def add_optional(self, parent: Any, declaration: int) -> None:
        """A method that its type has, but does not make mandatory."""
        node = self.server.get_node(ua.NodeId(declaration, self.standard))
        name = await node.read_browse_name()
        arguments: dict[str, list[Any]] = {"InputArguments": [], "OutputArguments": []}
        for one in await node.get_properties():
            arguments[(await one.read_browse_name()).Name] = await one.read_value()
        id = ua.NodeId(f"{parent.nodeid.Identifier}.{name.Name}", self.own)
        await parent.add_method(id, name, _unlinked, arguments["InputArguments"], arguments["OutputArguments"])

    async def link(self, node: Any, methods: Mapping[str, Method]) -> None:
        """Have an object's methods do something."""
        for child in await node.get_children(nodeclassmask=ua.NodeClass.Method):
            method = methods.get((await child.read_browse_name()).Name)
            if method is not None:
                self.server.link_method(child, method)

    async def set(self, id: Any, value: Any, kind: Any, *, source: datetime | None = None) -> None:
        """Write a value; who subscribed to it is told."""
        variant = ua.Variant(value, kind)
        now = datetime.now(UTC)
        await self.server.write_attribute_value(
            id, ua.DataValue(variant, SourceTimestamp=source or now, ServerTimestamp=now)
        )

    async def fire(
        self,
        name: str,
        source: Any,
        source_name: str,
        message: str,
        fields: Mapping[str, Value],
        *,
        emitters: tuple[Any, ...],
        severity: int = 100,
    ) -> None:
        """Tell who subscribed to one of the emitters.

        Args:
            source: id of the node that it is about; ``fields``: of the event's type, with their variant types, which
                asyncua does not find in an imported one.
        """
        event = copy.copy(self._events[name])
        event.data_types = dict(event.data_types)
        event.EventId = uuid.uuid4().bytes
        event.SourceNode, event.SourceName = source, source_name
        event.Time = event.ReceiveTime = datetime.now(UTC)
        event.Message, event.Severity = ua.LocalizedText(message[:500]), severity
        for field, (value, kind) in fields.items():
            event.add_property(field, value, kind)
        for emitter in emitters:
            event.emitting_node = emitter
            await self.server.iserver.subscription_service.trigger_event(event)

    async def close_to_writing(self, stream: str) -> None:
        """No client writes any variable of an instance: the standard's types say that it could."""
        space = self.server.iserver.aspace
        for id, data in list(space._nodes.items()):
            if id.NamespaceIndex != self.own or not str(id.Identifier).startswith(f"{stream}:"):
                continue
            for attribute in (ua.AttributeIds.AccessLevel, ua.AttributeIds.UserAccessLevel):
                if attribute in data.attributes:
                    data.attributes[attribute].value = ua.DataValue(ua.Variant(1, ua.VariantType.Byte))


async def _unlinked(parent: Any, *arguments: Any) -> Any:
    return ua.StatusCode(ua.StatusCodes.BadNotImplemented)


async def _mend_ids(server: Any, standard: int) -> None:
    """Three structures add nothing to their base, and the standard's file does not define them: asyncua takes them for
    the base itself. On the wire they have encodings of their own, which we have to write and clients have to find."""
    definition = await server.get_node(ua.NodeId(ID_BASE, standard)).read_data_type_definition()
    for name, kind, encoding in (
        ("RecipeIdExternalDataType", 3002, 5002),
        ("RecipeIdInternalDataType", 3013, 5268),
        ("ConfigurationIdDataType", 3008, 5090),
    ):
        own = copy.copy(definition)
        own.BaseDataType = ua.NodeId(ID_BASE, standard)
        own.DefaultEncodingId = ua.NodeId(encoding, standard)
        await server.get_node(ua.NodeId(kind, standard)).write_data_type_definition(own)
        if getattr(ua, name) is ua.BinaryIdBaseDataType:
            made = type(name, (ua.BinaryIdBaseDataType,), {"__module__": __name__})
            ua.register_extension_object(name, ua.NodeId(encoding, standard), made, ua.NodeId(kind, standard))
