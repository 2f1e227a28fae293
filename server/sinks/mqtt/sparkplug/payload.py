"""Sparkplug B's payloads: protocol buffers after Eclipse Tahu's public ``sparkplug_b.proto``, the part of it we use.

Built here from the numbers of its fields, rather than generated: generated code fits few versions of protobuf. The
libraries for Sparkplug bring clients of their own, and want a paho older than aiomqtt does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any

MOST_BYTES = 16_384
"""Of a payload that we read."""
Value = str | int | float | bool | None


class DataType(IntEnum):
    """What a metric's value is, as Sparkplug numbers it."""

    INT64 = 4
    UINT64 = 8
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATETIME = 13


_FIELD_OF = {
    DataType.INT64: "long_value",
    DataType.UINT64: "long_value",
    DataType.DATETIME: "long_value",
    DataType.DOUBLE: "double_value",
    DataType.BOOLEAN: "boolean_value",
    DataType.STRING: "string_value",
}


@dataclass(frozen=True)
class Metric:
    """One value.

    Attributes:
        name: None where its alias says it.
        timestamp: milliseconds since 1970.
        value: of a DATETIME milliseconds since 1970; None: there is none.
        is_historical: whether it is from before the connection, and says nothing of now.
    """

    name: str | None
    datatype: DataType
    value: Value
    timestamp: int
    alias: int | None = None
    is_historical: bool = False


def encode(metrics: Sequence[Metric], timestamp: int, seq: int | None) -> bytes:
    """A payload; without a number where ``seq`` is None, as a death's is."""
    payload = _message()(timestamp=timestamp)
    if seq is not None:
        payload.seq = seq
    for metric in metrics:
        said = payload.metrics.add(timestamp=metric.timestamp, datatype=int(metric.datatype))
        if metric.name is not None:
            said.name = metric.name
        if metric.alias is not None:
            said.alias = metric.alias
        if metric.is_historical:
            said.is_historical = True
        if metric.value is None:
            said.is_null = True
        elif metric.datatype is DataType.INT64:
            said.long_value = int(metric.value) % 2**64
        else:
            setattr(said, _FIELD_OF[metric.datatype], metric.value)
    return bytes(payload.SerializeToString())


def asks_for(raw: bytes, command: str) -> bool:
    """Whether a command's payload sets the boolean metric ``command``. False for all else, however broken."""
    from google.protobuf.message import DecodeError

    if len(raw) > MOST_BYTES:
        return False
    try:
        payload = _message().FromString(raw)
    except (DecodeError, ValueError):
        return False
    return any(metric.name == command and metric.boolean_value for metric in payload.metrics)


@cache
def _message() -> Any:
    """The class of a payload."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    one, many = kinds.LABEL_OPTIONAL, kinds.LABEL_REPEATED
    file = descriptor_pb2.FileDescriptorProto(name="sparkplug_b.proto", package="org.eclipse.tahu.protobuf")
    file.syntax = "proto2"
    payload = file.message_type.add(name="Payload")
    payload.field.add(name="timestamp", number=1, type=kinds.TYPE_UINT64, label=one)
    payload.field.add(
        name="metrics",
        number=2,
        type=kinds.TYPE_MESSAGE,
        label=many,
        type_name=".org.eclipse.tahu.protobuf.Payload.Metric",
    )
    payload.field.add(name="seq", number=3, type=kinds.TYPE_UINT64, label=one)
    metric = payload.nested_type.add(name="Metric")
    for name, number, kind in (
        ("name", 1, kinds.TYPE_STRING),
        ("alias", 2, kinds.TYPE_UINT64),
        ("timestamp", 3, kinds.TYPE_UINT64),
        ("datatype", 4, kinds.TYPE_UINT32),
        ("is_historical", 5, kinds.TYPE_BOOL),
        ("is_transient", 6, kinds.TYPE_BOOL),
        ("is_null", 7, kinds.TYPE_BOOL),
    ):
        metric.field.add(name=name, number=number, type=kind, label=one)
    metric.oneof_decl.add(name="value")
    for name, number, kind in (
        ("int_value", 10, kinds.TYPE_UINT32),
        ("long_value", 11, kinds.TYPE_UINT64),
        ("float_value", 12, kinds.TYPE_FLOAT),
        ("double_value", 13, kinds.TYPE_DOUBLE),
        ("boolean_value", 14, kinds.TYPE_BOOL),
        ("string_value", 15, kinds.TYPE_STRING),
    ):
        metric.field.add(name=name, number=number, type=kind, label=one, oneof_index=0)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("org.eclipse.tahu.protobuf.Payload"))
