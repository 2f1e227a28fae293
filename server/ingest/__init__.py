"""Ways in: WebSocket, WebRTC, WHIP, cameras the server pulls, the simulated line."""

from server.ingest import simulated_stream
from server.ingest.pulled_camera import CameraStream
from server.ingest.webrtc import WebRTCIngest
from server.ingest.websocket import LiveSocket, StreamSocket
from server.ingest.whip import Whip

__all__ = ["CameraStream", "LiveSocket", "StreamSocket", "WebRTCIngest", "Whip", "simulated_stream"]
