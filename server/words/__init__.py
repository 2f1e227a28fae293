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

__all__ = [
    "HEATMAP_AT_THRESHOLD",
    "CameraInfo",
    "Error",
    "Goodbye",
    "Heatmap",
    "Load",
    "Message",
    "Picture",
    "Result",
    "Simulated",
    "Status",
    "StreamInfo",
    "StreamState",
    "Transport",
    "Verdict",
    "check_max_fps",
    "check_name",
    "encode",
    "messages",
]
