"""Frames in over WebRTC, and what aiortc is adapted with."""

from server.ingest.webrtc.ingest import WebRTCIngest

__all__ = ["WebRTCIngest"]
