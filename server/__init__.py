"""DefectVision's server: frames in over WebSocket, WebRTC or a camera; verdicts out to pages and HMI screens."""
