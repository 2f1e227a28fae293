"""A real RTSP camera for the tests: GStreamer's server, sending an H.264 or H.265 file at its own rate.

Run with the system's Python, which has GStreamer's bindings, not with the project's:

    /usr/bin/python3 rtsp_camera.py FILE.mp4 PORT [USER PASSWORD] [--udp] [--h265] [--parameters-in-sdp]

Prints "ready" when it listens on rtsp://127.0.0.1:PORT/live. With user and password it wants them.

--udp: it sends over UDP only. --parameters-in-sdp: SPS and PPS come in the description only, as many cameras do it.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

options = {argument for argument in sys.argv[1:] if argument.startswith("--")}
path, port, *login = [argument for argument in sys.argv[1:] if argument not in options]
codec = "h265" if "--h265" in options else "h264"
interval = 0 if "--parameters-in-sdp" in options else -1
Gst.init(None)
server = GstRtspServer.RTSPServer(address="127.0.0.1", service=port)
camera = GstRtspServer.RTSPMediaFactory()
camera.set_launch(f'( filesrc location="{path}" ! qtdemux ! rtp{codec}pay name=pay0 pt=96 config-interval={interval} )')
camera.set_protocols(GstRtsp.RTSPLowerTrans.UDP if "--udp" in options else GstRtsp.RTSPLowerTrans.TCP)
if login:
    user, password = login
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "operator")
    door = GstRtspServer.RTSPAuth()
    door.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(door)
    rights = "operator, media.factory.access=(boolean)true, media.factory.construct=(boolean)true"
    camera.add_role_from_structure(Gst.Structure.new_from_string(rights))
server.get_mount_points().add_factory("/live", camera)
if not server.attach(None):
    sys.exit(f"port {port} is taken")
print("ready", flush=True)
GLib.MainLoop().run()
