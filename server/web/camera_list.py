"""``/api/cameras``: those that the server fetches itself, seen, tried, added and removed."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from detector.images import encode_jpeg
from server.cameras import CaptureError, Device, shown
from server.ground import why_not_kept
from server.kept_cameras import MOST, CannotAdd, KeptCameras, Stuck, Trials, TrialsBusy, why_not_run
from server.settings import PulledCamera, Settings
from server.streams import Streams
from server.web.answers import MadeForGet, Refused, answer, refuse_other_sites
from server.web.calibration_query import who_asks
from server.web.camera_bodies import (
    CameraBody,
    CameraRemoved,
    CamerasBody,
    CamerasThere,
    CameraThere,
    CameraTried,
    CameraWanted,
)
from server.web.json_body import read_json
from server.words import CameraInfo, Content, Operation, Reply, Role, documented

MAX_BODY = 16 * 1024
EXAMPLE = '{"name": "press", "source": "rtsp://USER:PASSWORD@CAMERA/PATH"}'
SHOWN_SIDE = 640
NOT_SUCH = "no such camera can be: the name, the source (no files, folders or other protocols), or a number"
NOT_STORED = "the data directory cannot be written; nothing was changed"


@dataclass(frozen=True)
class CameraList:
    settings: Settings
    streams: Streams
    kept: KeptCameras
    trials: Trials

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/api/cameras", self.list_cameras),
            Route("/api/cameras", self.add, methods=["POST"]),
            Route("/api/cameras/test", self.try_one, methods=["POST"]),
            MadeForGet("/api/cameras/found", self.look_around),
            Route("/api/cameras/{name}", self.remove, methods=["DELETE"]),
        ]

    @documented(
        Operation(
            "The cameras that the server fetches itself",
            {200: Reply("those of the setting CAMERAS, and those of the page", Content(CamerasBody))},
            description="Addresses are told without their credentials.",
            role=Role.VIEWER,
        )
    )
    async def list_cameras(self, request: Request) -> Response:
        cameras = [self._body(camera, given=True) for camera in self.settings.cameras]
        cameras += [self._body(camera, given=False) for camera in self.kept.all]
        return answer(CamerasBody(cameras, MOST - len(self.kept.all)), headers={"Cache-Control": "no-store"})

    @documented(
        Operation(
            "Add a camera, and inspect what it sends at once",
            {
                201: Reply("it is kept, and runs", Content(CameraBody)),
                409: f"its name is taken, or there are {MOST} cameras of the page",
                413: "larger than 16 kB",
                422: NOT_SUCH,
                503: "too many that were removed hang in their drivers",
                507: NOT_STORED,
            },
            description="Whoever may use the page may have this server connect to any rtsp, rtsps, http, https or "
            "genicam address that it can reach, and to no file.",
            body=Content(CameraWanted),
            role=Role.ADMIN,
        )
    )
    async def add(self, request: Request) -> Response:
        camera = (await read_json(request, CameraWanted, MAX_BODY, EXAMPLE)).camera()
        if camera.name not in self.kept and self.streams.get(camera.name) is not None:
            raise Refused(409, f"somebody sends a stream called {camera.name} now: choose another name")
        try:
            await self.kept.add(camera, who=who_asks(request))
        except ValueError as error:
            raise Refused(422, f"{error}; nothing was changed") from error
        except CannotAdd as error:
            raise Refused(409, f"{error}; nothing was changed") from error
        except Stuck as error:
            raise Refused(503, str(error)) from error
        except OSError as error:
            raise _not_stored(error) from error
        return answer(self._body(camera, given=False), 201)

    @documented(
        Operation(
            "Try a camera: its first picture, or why there is none",
            {
                200: Reply("what came of it, within 10 seconds; nothing is kept", Content(CameraTried)),
                413: "larger than 16 kB",
                422: NOT_SUCH,
                503: "two are being tried already, or too many hang in their drivers",
            },
            description="A camera on the server's machine that runs already cannot be tried: it is in use.",
            body=Content(CameraWanted),
            role=Role.ADMIN,
            audited=False,
        )
    )
    async def try_one(self, request: Request) -> Response:
        camera = (await read_json(request, CameraWanted, MAX_BODY, EXAMPLE)).camera()
        try:
            found = await self.trials.look(camera)
        except ValueError as error:
            raise Refused(422, str(error)) from error
        except TrialsBusy as error:
            raise Refused(503, str(error)) from error
        if found.picture is None:
            return answer(CameraTried(False, found.problem, None, None, None, None))
        height, width = found.picture.shape[:2]
        data, _, _ = await run_in_threadpool(partial(encode_jpeg, found.picture, longest_side=SHOWN_SIDE))
        picture = base64.b64encode(data).decode()
        return answer(CameraTried(True, None, picture, width, height, found.fps))

    @documented(
        Operation(
            "Look for cameras of GigE Vision and USB3 Vision",
            {
                200: Reply("those that answered, within 8 seconds", Content(CamerasThere)),
                501: "they cannot be looked for here: Aravis is not installed",
                503: "somebody is looking already",
            },
            description="Asks the whole network of the server's machine, each time; nothing is asked by itself.",
            role=Role.ADMIN,
        )
    )
    async def look_around(self, request: Request) -> Response:
        refuse_other_sites(request, "a search for cameras")
        try:
            found = await self.trials.look_around()
        except TrialsBusy as error:
            raise Refused(503, str(error)) from error
        except CaptureError as error:
            raise Refused(501, str(error)) from error
        return answer(CamerasThere([_there(device) for device in found]), headers={"Cache-Control": "no-store"})

    @documented(
        Operation(
            "Remove a camera of the page",
            {
                200: Reply("it is forgotten, and has stopped", Content(CameraRemoved)),
                404: "there is no camera of that name",
                409: "it is one of the setting CAMERAS",
                507: NOT_STORED,
            },
            role=Role.ADMIN,
        )
    )
    async def remove(self, request: Request) -> Response:
        name = request.path_params["name"]
        try:
            await self.kept.remove(name, who=who_asks(request))
        except KeyError as error:
            if any(camera.name == name for camera in self.settings.cameras):
                raise Refused(409, f"the camera {name} is one of the setting CAMERAS: take it out there") from error
            raise Refused(404, "there is no camera of that name: GET /api/cameras lists them") from error
        except OSError as error:
            raise _not_stored(error) from error
        return answer(CameraRemoved(name))

    def _body(self, camera: PulledCamera, *, given: bool) -> CameraBody:
        info = self._info(camera.name) if given or self.kept.runs(camera.name) else None
        hidden = why_not_run(camera.name) if not given and camera.name in self.kept.hidden else None
        return CameraBody(
            name=camera.name,
            source=shown(camera.source),
            origin="CAMERAS" if given else "page",
            width=camera.width,
            height=camera.height,
            fps=camera.fps,
            crop=camera.crop,
            patience=camera.patience,
            state=info.state if info else "stopped",
            since=info.since if info else None,
            retry_in_s=info.retry_in_s if info else None,
            connects=info.connects if info else 0,
            failures=info.failures if info else 0,
            dropped=info.dropped if info else 0,
            last_error=info.last_error if info else hidden,
        )

    def _info(self, name: str) -> CameraInfo | None:
        opened = self.streams.get(name)
        return opened.describe_camera() if opened is not None and opened.describe_camera is not None else None


def _there(device: Device) -> CameraThere:
    name = quote(device.id, safe="")
    return CameraThere(f"genicam://{name}", device.vendor, device.model, device.serial, device.address, device.protocol)


def _not_stored(error: OSError) -> Refused:
    return Refused(507, why_not_kept(error))
