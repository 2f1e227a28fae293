"""The words of the server: every message it sends, and what a stream is called and how its frames come."""

from server.words import messages
from server.words.messages import (
    HEATMAP_AT_THRESHOLD,
    CameraInfo,
    Error,
    Goodbye,
    Heatmap,
    Message,
    Picture,
    Result,
    Simulated,
    Status,
    StreamInfo,
    StreamState,
    Verdict,
    encode,
)
from server.words.naming import Load, Transport, check_max_fps, check_name
from server.words.operations import BYTES, HTML, Content, Operation, Parameter, Reply, documented

__all__ = [
    "BYTES",
    "HEATMAP_AT_THRESHOLD",
    "HTML",
    "CameraInfo",
    "Content",
    "Error",
    "Goodbye",
    "Heatmap",
    "Load",
    "Message",
    "Operation",
    "Parameter",
    "Picture",
    "Reply",
    "Result",
    "Simulated",
    "Status",
    "StreamInfo",
    "StreamState",
    "Transport",
    "Verdict",
    "check_max_fps",
    "check_name",
    "documented",
    "encode",
    "messages",
]
