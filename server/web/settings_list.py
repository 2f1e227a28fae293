"""``GET /api/settings``: how this server is set, where each value comes from, and where others find it."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from detector import VERSION
from server.https import InService
from server.settings import SECRET, Settings
from server.web.answers import answer
from server.web.phone import page_addresses
from server.web.settings_bodies import HttpsBody, SettingBody, SettingsBody
from server.words import Content, Operation, Reply, Role, documented

HIDDEN = "***"

ABOUT: Mapping[str, str] = {
    "HOST": "The address it listens on: any but this machine's own asks everyone to log in.",
    "PORT": "The port it listens on.",
    "MODEL_PATH": "The folder of the model; without one the simulated line runs.",
    "MODEL_CATEGORY": "What the parts are called; without it, as the model says.",
    "RUNTIME": "What the model runs on: openvino or torch.",
    "IMAGE_SIZE": "The side of the model's input in pixels; without it, as the model says.",
    "THRESHOLD": "The raw threshold: it wins over every calibration and the model's own.",
    "CALIBRATE_PER": "Whether a calibration made on a stream holds for all streams or for that stream alone.",
    "DATA_DIR": "The folder of everything that the server writes.",
    "MAX_UPLOAD_MB": "How large a picture or frame may be, in megabytes.",
    "MAX_FRAME_MEGAPIXELS": "How many megapixels a frame of a stream may have.",
    "MAX_MODELS_GB": "How many gigabytes all models may take on disk, their pictures included.",
    "ARCHIVE_GB": "How many gigabytes pictures of rejects, and of some good parts, may take; 0: none are kept.",
    "ARCHIVE_DAYS": "How many days such a picture is kept.",
    "ARCHIVE_FREE_GB": "How many gigabytes of its disk stay free: the oldest pictures go before.",
    "ARCHIVE_NORMALS_S": "Seconds between good parts of a stream whose picture is kept; 0: none.",
    "SHIFTS": "When shifts begin, by this machine's clock: what numbers and the shift report go by.",
    "MAX_CONNECTIONS": "How many connections there may be at once.",
    "MAX_CONNECTIONS_PER_ADDRESS": "How many of them may come from one address.",
    "WORKERS": "How many frames are inspected at once.",
    "ACCESS_CODE": "One code that may everything, besides logins and tokens; everyone is asked where it is set.",
    "POOL": "Who looks at frames: threads of this process, or replicas on a Ray cluster.",
    "RAY_ADDRESS": "The Ray cluster; auto: the one that runs on this machine; without it one is started here.",
    "RAY_REPLICAS": "How many detector replicas there are, or from how many to how many.",
    "RAY_CPUS": "How many processors a replica may use; a part of one, too.",
    "RAY_GPUS": "How many graphics cards a replica may use; a part of one, too.",
    "MAX_FRAME_AGE_MS": "A frame that waited longer, in milliseconds, is dropped.",
    "SILENT_AFTER_S": "Seconds without a frame after which a connected camera is called silent; 0: never.",
    "WATCHDOG_S": "Seconds without progress after which a frame is given up and its worker replaced.",
    "ICE_SERVERS": "STUN and TURN servers for WebRTC; nothing is asked without any.",
    "CAMERAS": "Network cameras that the server fetches itself, besides those of the page.",
    "SINK_FOLDERS": "Folders outside of DATA_DIR below which folder sinks may write.",
    "HTTPS": "Whether it speaks https, with a certificate made here.",
    "CERT_FILE": "Your own certificate for https.",
    "KEY_FILE": "The private key of that certificate.",
    "SERVER_NAMES": "More names of this machine, for the certificate and the QR code; of a proxy PUBLIC_URL makes it.",
    "PUBLIC_URL": "The address that others see where a proxy stands before the server.",
    "ALLOWED_ORIGINS": "Pages of other origins that may use the server and frame its pages for HMIs.",
    "PLANT_STORE": "Where the gateways of one plant share models and pictures; with DATABASE_URL.",
    "GATEWAY_NAME": "What this gateway is called among those of its plant.",
    "DATABASE_URL": "The PostgreSQL that keeps the history; without it a file in DATA_DIR does.",
    "HISTORY_DAYS": "How many days parts and events are kept in the history.",
    "HISTORY_ROWS": "How many of them are kept at the most; the oldest go.",
}
"""What each setting does, one sentence."""


@dataclass(frozen=True)
class SettingsList:
    settings: Settings
    in_service: InService | None

    @property
    def routes(self) -> list[Route]:
        return [Route("/api/settings", self.list_settings)]

    @documented(
        Operation(
            "How this server is set",
            {200: Reply("its settings and addresses", Content(SettingsBody))},
            description="Values that may hold credentials (the access code, cameras, TURN servers) are not told.",
            role=Role.ENGINEER,
        )
    )
    async def list_settings(self, request: Request) -> Response:
        body = await run_in_threadpool(self._body, request.scope["server"][1])
        return answer(body, headers={"Cache-Control": "no-store"})

    def _body(self, port: int) -> SettingsBody:
        https = self._https()
        return SettingsBody(
            settings=[setting_body(self.settings, name) for name in ABOUT],
            addresses=page_addresses(self.settings, port, secure=https.on),
            https=https,
            machine=socket.gethostname(),
            data_dir=str(self.settings.data_dir.absolute()),
            env_file=str(Path(".env").absolute()),
            version=VERSION,
        )

    def _https(self) -> HttpsBody:
        public = self.settings.public_url
        if public is not None:  # it is the proxy's certificate that a browser sees
            return HttpsBody(public.secure, "proxy" if public.secure else None, False, None)
        if self.in_service is None:
            return HttpsBody(False, None, False, None)
        certificates = self.in_service.certificates
        return HttpsBody(True, "server", certificates.ca_path is not None, certificates.fingerprint)


def setting_body(settings: Settings, name: str) -> SettingBody:
    """One setting as it may be told to whoever has the page."""
    value = _text(getattr(settings, name.lower()))
    secret = name in SECRET
    origin = settings.came_from.get(name, "default")
    return SettingBody(name, HIDDEN if secret and value is not None else value, origin, ABOUT[name], secret)


def _text(value: object) -> str | None:
    """As it would be written into the environment; None where nothing is set."""
    match value:
        case None | ():
            return None
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.12g}"
        case (int(least), int(most)):  # RAY_REPLICAS
            return f"{least}-{most}"
        case tuple():
            return ", ".join(map(str, value))
        case _:
            return str(value)
