"""What Home Assistant is told, so that each stream appears there by itself: one message a device (device discovery)."""

from __future__ import annotations

from typing import Any

import msgspec

from server.sinks.mqtt.publication import Publication, cleared
from server.sinks.mqtt.topics import Topics

_STATES = ["live", "silent", "waiting", "teaching"]
_IS_THERE = (
    "{{ 'online' if value_json is defined and value_json.state in ['live', 'silent', 'teaching'] else 'offline' }}"
)

_encoder = msgspec.json.Encoder()


def announced(topics: Topics, stream: str, *, commands: bool, address: str | None) -> list[Publication]:
    """What makes a stream appear, and what reminds us that it did."""
    return [
        Publication(topics.discovery(stream), _encoder.encode(device(topics, stream, commands, address)), retain=True),
        Publication(_reminder(topics, stream), _encoder.encode({"prefix": topics.discovery_prefix}), retain=True),
    ]


def withdrawn(topics: Topics, stream: str) -> list[Publication]:
    """What makes it disappear."""
    return [cleared(topics.discovery(stream)), cleared(_reminder(topics, stream))]


def device(topics: Topics, stream: str, commands: bool, address: str | None) -> dict[str, Any]:
    """The device and its entities, as Home Assistant's device discovery reads them."""
    id, state, verdict = topics.object_id(stream), topics.of(stream, "state"), topics.of(stream, "verdict")

    def entity(name: str, platform: str, words: str, **more: Any) -> dict[str, Any]:
        return {"platform": platform, "unique_id": f"{id}_{name}", "name": words, **more}

    server, there = {"topic": topics.status}, {"topic": state, "value_template": _IS_THERE}
    here = {"availability": [server, there], "availability_mode": "all"}
    entities = {
        "verdict": entity(
            "verdict",
            "sensor",
            "Last verdict",
            state_topic=verdict,
            value_template=_value("verdict"),
            json_attributes_topic=verdict,
            device_class="enum",
            options=["NORMAL", "ANOMALY", "FAILED"],
            **here,
        ),
        "parts": entity(
            "parts",
            "sensor",
            "Parts",
            state_topic=verdict,
            value_template=_value("parts"),
            state_class="total_increasing",
            **here,
        ),
        "rejects": entity(
            "rejects",
            "sensor",
            "Rejects",
            state_topic=verdict,
            value_template=_value("rejected"),
            state_class="total_increasing",
            **here,
        ),
        "problem": entity(
            "problem",
            "binary_sensor",
            "Reject",
            state_topic=verdict,
            value_template="{{ 'ON' if value_json is defined and value_json.verdict != 'NORMAL' else 'OFF' }}",
            device_class="problem",
            **here,
        ),
        "state": entity(
            "state",
            "sensor",
            "State",
            state_topic=state,
            value_template=_value("state"),
            json_attributes_topic=state,
            device_class="enum",
            options=_STATES,
            entity_category="diagnostic",
            availability=[server],
        ),
        "connected": entity(
            "connected",
            "binary_sensor",
            "Server",
            state_topic=topics.status,
            payload_on="online",
            payload_off="offline",
            device_class="connectivity",
            entity_category="diagnostic",
        ),
    }
    if commands:
        entities["trigger"] = entity(
            "trigger",
            "button",
            "Trigger",
            command_topic=topics.of(stream, "trigger"),
            payload_press="{}",
            qos=0,  # a press that is sent again later would trigger another part
            **here,
        )
    about = {"identifiers": [id], "name": f"DefectVision {stream}", "manufacturer": "DefectVision", "model": "stream"}
    if address is not None:
        about["configuration_url"] = address
    return {"device": about, "origin": {"name": "DefectVision"}, "qos": 1, "components": entities}


def prefix_of(reminder: bytes) -> str | None:
    """The discovery prefix that a reminder names; None where it names none."""
    try:
        prefix = msgspec.json.decode(reminder, type=dict[str, str]).get("prefix", "")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return prefix or None


def _value(field: str) -> str:
    return f"{{{{ value_json.{field} if value_json is defined else None }}}}"


def _reminder(topics: Topics, stream: str) -> str:
    return topics.of(stream, "discovery")
