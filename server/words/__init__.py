"""The words of the server: every message it sends, and what a stream is called and how its frames come."""

from server.words import messages
from server.words.calibration_words import CalibrationInfo, RuleInfo, SinceCalibration
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
from server.words.naming import HOW, Load, Transport, Way, check_max_fps, check_name
from server.words.operations import BYTES, HTML, Content, Operation, Parameter, Reply, documented

__all__ = [
    "BYTES",
    "HEATMAP_AT_THRESHOLD",
    "HOW",
    "HTML",
    "CalibrationInfo",
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
    "RuleInfo",
    "Simulated",
    "SinceCalibration",
    "Status",
    "StreamInfo",
    "StreamState",
    "Transport",
    "Verdict",
    "Way",
    "check_max_fps",
    "check_name",
    "documented",
    "encode",
    "messages",
]
