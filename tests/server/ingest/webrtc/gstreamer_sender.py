"""A WebRTC sender that is not ours: GStreamer's webrtcbin, for the tests.

Run with the system's Python, which has GStreamer's bindings, not with the project's:

    /usr/bin/python3 gstreamer_sender.py URL CODEC BRIGHTNESS [active] [audio]

It offers a grey picture (CODEC: VP8 or H264) to URL, which is .../webrtc/offer or .../whip/NAME, and prints one JSON
object a line: the answer's status, connection states, and what comes over the data channel (to /webrtc/offer only).
With "active" it insists on being the DTLS client, with "audio" it offers a tone before the picture. It obeys a word a
line: pause, go on, stop.
"""

import json
import sys
import threading
import urllib.error
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

url, codec, brightness, *how = sys.argv[1:]
ENCODERS = {
    "VP8": "vp8enc deadline=1 keyframe-max-dist=30 ! rtpvp8pay pt=96 picture-id-mode=15-bit "
    "! application/x-rtp,media=video,encoding-name=VP8,payload=96",
    "H264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 "
    "! video/x-h264,profile=constrained-baseline ! rtph264pay pt=102 config-interval=-1 aggregate-mode=zero-latency "
    "! application/x-rtp,media=video,encoding-name=H264,payload=102",
}
LUMA = int(brightness)
Gst.init(None)


def tell(**event):
    print(json.dumps(event), flush=True)


AUDIO = (
    "audiotestsrc is-live=true ! audioconvert ! audioresample ! opusenc ! rtpopuspay pt=100 "
    "! application/x-rtp,media=audio,encoding-name=OPUS,payload=100 ! peer. "
)
pipeline = Gst.parse_launch(
    f"webrtcbin name=peer bundle-policy=max-bundle {AUDIO if 'audio' in how else ''} "
    f"videotestsrc is-live=true pattern=solid-color foreground-color=0xff{LUMA:02x}{LUMA:02x}{LUMA:02x} "
    "! video/x-raw,format=I420,width=160,height=120,framerate=15/1 ! valve name=valve "
    f"! {ENCODERS[codec]} ! peer."
)
peer = pipeline.get_by_name("peer")
valve = pipeline.get_by_name("valve")
agent = peer.get_property("ice-agent")  # kept: it comes with a floating reference, which Python's wrapper takes over
agent.emit("add-local-ip-address", "127.0.0.1")


def on_negotiation_needed(element):
    element.disconnect(negotiation)  # once: audio that was answered with a no would be offered again
    element.emit("create-offer", None, Gst.Promise.new_with_change_func(on_offer, None))


def on_offer(promise, _):
    reply = promise.get_reply()  # kept: the offer lives in it
    offer = reply.get_value("offer")
    text = offer.sdp.as_text()
    peer.emit("set-local-description", offer, Gst.Promise.new())
    if "active" in how:
        text = text.replace("a=setup:actpass", "a=setup:active")
    threading.Thread(target=send_offer, args=(text,), daemon=True).start()


def send_offer(text):
    whip = not url.endswith("/webrtc/offer")
    body = text if whip else json.dumps({"sdp": text, "type": "offer", "name": "press"})
    kind = "application/sdp" if whip else "application/json"
    request = urllib.request.Request(url, body.encode(), {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            answer, status, location = response.read().decode(), response.status, response.headers.get("Location")
    except urllib.error.HTTPError as error:
        tell(status=error.code, error=error.read().decode())
        return
    tell(status=status, location=location)
    _, sdp = GstSdp.SDPMessage.new_from_text(answer if whip else json.loads(answer)["sdp"])
    described = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, sdp)
    peer.emit("set-remote-description", described, Gst.Promise.new())


def obey():
    for word in sys.stdin:
        match word.strip():
            case "pause":
                valve.set_property("drop", True)
            case "go on":
                valve.set_property("drop", False)
            case "stop":
                break
    GLib.idle_add(loop.quit)


negotiation = peer.connect("on-negotiation-needed", on_negotiation_needed)
peer.connect("notify::connection-state", lambda *_: tell(state=peer.get_property("connection-state").value_nick))
bus = pipeline.get_bus()
bus.add_signal_watch()
bus.connect("message::error", lambda _, message: tell(problem=str(message.parse_error())))
pipeline.set_state(Gst.State.READY)
if url.endswith("/webrtc/offer"):
    options = Gst.Structure.new_from_string("options, ordered=(boolean)false, max-retransmits=(int)0")
    channel = peer.emit("create-data-channel", "results", options)
    channel.connect("on-message-string", lambda _, text: tell(message=json.loads(text)))
pipeline.set_state(Gst.State.PLAYING)
loop = GLib.MainLoop()
threading.Thread(target=obey, daemon=True).start()
loop.run()
pipeline.set_state(Gst.State.NULL)
