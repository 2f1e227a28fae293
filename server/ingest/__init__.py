"""Ways in: WebSocket, WebRTC, cameras the server pulls, the simulated line."""

from server.ingest import simulated_stream
from server.ingest.pulled_camera import CameraStream
from server.ingest.webrtc import WebRTCIngest
from server.ingest.websocket import LiveSocket, StreamSocket

__all__ = ["CameraStream", "LiveSocket", "StreamSocket", "WebRTCIngest", "simulated_stream"]
