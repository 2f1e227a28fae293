"""The only place where the parts are put together: routes, middleware, start and stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import BaseRoute, Mount, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from detector import Detector, DetectorError, load
from server.access import CODE_FILE, SHARED_FILES, Access, AccessMiddleware, Origins, guard
from server.archive import Archive, Limits, in_history
from server.drift import Drifts
from server.ground import OWN_FILES, Calendar, Noted, Supervised, ended, give_back, page_folder
from server.https import Certificates, InService
from server.ingest import CameraStream, LiveSocket, StreamSocket, WebRTCIngest, Whip, simulated_stream
from server.inspection import Calibrations, Drafts, Inspection
from server.kept_cameras import KeptCameras, Trials
from server.metrics import OfRecords, OfSinks, OfStreams, PartLog, Totals
from server.plant import Plant
from server.recipes import SharedModels
from server.records import Records
from server.replicas import RayCluster, Replicas, ReplicasWanted
from server.settings import PulledCamera, Settings, SettingsError
from server.sinks import OwnLine, Sinks
from server.streams import Hub, InferencePool, OpenStream, Streams
from server.teaching import Correcting, Library, Teachings
from server.web import (
    ERRORS,
    ApiSocket,
    Archived,
    AuditLog,
    Backups,
    Calibrate,
    CalibrationDrafts,
    CameraList,
    ConnectionCheck,
    Corrections,
    Documents,
    Frames,
    Health,
    History,
    Kiosk,
    LineNumbers,
    Me,
    Metrics,
    Pages,
    Phone,
    Predict,
    Recipes,
    Saying,
    Sessions,
    SettingsList,
    ShiftReport,
    SinkList,
    StreamList,
    Teach,
    Tokens,
    Users,
    Warns,
    answer_error,
    answer_http_error,
    content_policy,
    uploads_held,
)
from server.words import Role, needs

log = logging.getLogger("defectvision.app")

MakeModel = Callable[[], Detector]

FETCH_AGAIN_S = 10.0
PLANT_S = 0.5
"""Seconds that letting go of the plant's database may take."""
IN_S, OUT_S = 0.9, 2.0
"""Seconds that ways in, and then ways out, have to end in: a stop takes less than 3 s whichever one hangs."""


def create_app(
    settings: Settings,
    *,
    code: str | None = None,
    certificates: Certificates | None = None,
    make_model: MakeModel | None = None,
) -> Starlette:
    """The server as an ASGI application.

    Args:
        settings: see :class:`Settings`.
        code: the access code in force, if any. Without one, and where ``settings`` do not close the server, it asks
            nobody who he is: for loopback only.
        certificates: what the server speaks TLS with at first, for phones to trust; None over plain http.
        make_model: makes or loads the model in a thread; by default MODEL_PATH is loaded, or, where there is none, the
            simulated line runs and is taught; a gateway of a plant has none.

    Raises:
        SettingsError: an ICE server that cannot be one.
        UndeclaredRoute: a route does not say who may use it.
        PlantError: this gateway cannot be one of the plant that the settings name.
    """
    plant = Plant.of(settings.database_url, settings.plant_store, settings.data_dir, settings.gateway_name)
    shelf = OWN_FILES if plant is None else plant
    access = Access(
        settings.data_dir,
        closed=settings.closed or code is not None,
        code=code,
        code_file=None if settings.has_chosen_code else settings.data_dir / CODE_FILE,
        shelf=SHARED_FILES if plant is None else plant,
        plants_clock=None if plant is None else plant.now,
    )
    calibrations = Calibrations(settings.data_dir, shelf)
    inspection = Inspection(
        calibrations,
        threshold=settings.threshold,
        category=settings.model_category,
        per_stream=settings.calibrate_per == "stream",
    )
    replicas = _replicas(settings, inspection) if settings.pool == "ray" else None
    workers = settings.workers if replicas is None else 0  # none before the first replica is ready
    pool, hub = InferencePool(workers, hung_after_s=settings.watchdog_s, supply=replicas), Hub()
    simulated = make_model is None and settings.model_path is None and plant is None
    calendar = Calendar(settings.data_dir)
    records = Records(
        settings.data_dir,
        settings.database_url,
        days=settings.history_days,
        rows=settings.history_rows,
        calendar=calendar,
    )
    hub.listen(records.hear)
    archive = Archive(
        settings.data_dir,
        Limits(int(settings.archive_gb * 1e9), settings.archive_days, int(settings.archive_free_gb * 1e9)),
        normals_every_s=settings.archive_normals_s,
        calendar=calendar,
        store=plant.store if plant is not None else None,
    )
    hub.listen(archive.hear)
    archive.on_kept, archive.on_gone = in_history(records), records.pictures_gone
    own = {camera.name for camera in settings.cameras} | ({simulated_stream.NAME} if simulated else set())
    kept_cameras = KeptCameras(settings.data_dir, own)
    streams = Streams(
        pool,
        hub,
        inspection,
        max_age_s=settings.max_frame_age_ms / 1000,
        silent_after_s=settings.silent_after_s or None,
        reserved=kept_cameras,
    )
    watched: list[Warns] = [hub]  # whose warnings the operator is told; serve.py adds what it has of its own
    drifts = Drifts(hub, lambda name: opened.stream.transport if (opened := streams.get(name)) else None)
    streams.drifted = drifts.warnings
    of_streams = OfStreams(streams, pool, inspection)
    totals = Totals(hub, of_streams)
    PartLog(hub)
    try:
        webrtc = WebRTCIngest(streams, ice_servers=settings.ice_servers, max_pixels=settings.max_frame_pixels)
    except ValueError as error:
        raise SettingsError(f"ICE_SERVERS cannot be used: {error}") from error
    teacher = simulated_stream.Teacher(
        settings.data_dir, image_size=settings.image_size, runtime=settings.runtime, workers=settings.workers
    )
    if make_model is None:
        make_model = teacher.model if simulated else _loaded(settings)
    templates = Jinja2Templates(page_folder("templates"))
    origins = Origins(settings.public_url, frozenset(settings.allowed_origins))
    in_service = InService(certificates) if certificates is not None else None
    phone = Phone(settings, access, in_service, templates)
    library = Library(
        settings.data_dir,
        inspection,
        streams,
        runtime=settings.runtime,
        workers=settings.workers,
        simulated=simulated_stream.NAME if simulated else None,
        most_bytes=settings.max_models_bytes,
        goods_of=simulated_stream.goods if simulated else (lambda taught: ()),
        spread=replicas.spread if replicas is not None else None,
        shelf=shelf,
        shared=SharedModels(plant.store) if plant is not None else None,
    )
    if plant is not None:
        plant.join()
    sinks = Sinks(
        settings.data_dir,
        hub,
        folders=settings.sink_folders,
        address=str(settings.public_url) if settings.public_url else None,
        line=OwnLine(streams, library, access.audit.note_line),
    )
    health = Health(
        inspection=inspection,
        pool=pool,
        calibrations=calibrations,
        teaching_progress=(lambda: teacher.progress) if simulated else None,
        simulated_stream=simulated_stream.NAME if simulated else None,
        ice_servers=webrtc.ice_servers,
        others=watched,
    )

    attending = Supervised("the care of teachings", lambda: teachings.run())
    simulating = Supervised("the simulated line", lambda: simulated_stream.run(streams))
    freeing = Supervised("the return of freed memory", give_back)
    following = Supervised("what other gateways change", lambda: _followed(plant, library, inspection, streams))
    unread, unrun = Noted(), Noted()
    watched += [library.book, kept_cameras, records, archive, sinks, access, attending, simulating]
    watched += [freeing, unread, unrun]
    watched += [] if plant is None else [plant, plant.among, library.behind, following]
    teachings = Teachings(settings.data_dir, library, streams.get, runtime=settings.runtime)

    def opened(stream: OpenStream) -> None:
        teachings.opened(stream)
        library.in_force.opened(stream)

    streams.on_open, streams.on_close = opened, library.in_force.closed
    streams.keeps_part, streams.kept.on_kept = archive.keeps_part, archive.keep
    held = uploads_held(settings.max_upload_bytes)
    calibrate = Calibrate(settings, inspection, pool, streams, held, Drafts())

    # Its own, so that a shutdown need not wait for a step of teaching.
    workshop = ThreadPoolExecutor(1, "teaching")

    def follow() -> None:
        if plant is not None:
            following.start()

    async def prepare() -> None:
        inspection.why_no_model = (
            "the model is being taught on the simulated line" if simulated else "the model is being loaded"
        )
        given: Detector | None = None
        try:
            if make_model is not None:
                given = await asyncio.get_running_loop().run_in_executor(workshop, make_model)
        except DetectorError as error:
            inspection.why_no_model = str(error)
            log.error("no model reason=%s", error)
        except Exception:
            inspection.why_no_model = "making the model failed; the server's log says why"
            log.exception("no model")
        try:
            await library.open(given, settings.model_category)
            follow()  # before what the plant has is fetched: its store may hang
            await library.bring()
        except Exception as error:
            log.exception("the recipes cannot be used")
            unread.warning = (
                f"recipes and models cannot be used ({type(error).__name__}: {error}): see to {settings.data_dir}, and "
                "restart the server"
            )
        follow()  # where recipes cannot be used, too
        if not inspection.ready:
            if make_model is None:
                inspection.why_no_model = "the plant has no recipe yet: teach a part at any of its gateways"
            health.failed.set()
        if given is None and not inspection.recipes:
            return
        streams.tell_changed()
        if simulated and given is not None:
            simulating.start()

    def run_camera(camera: PulledCamera) -> CameraStream:
        return CameraStream(camera, streams, settings.max_frame_pixels)

    def run_cameras() -> list[CameraStream]:
        running = []
        for camera in settings.cameras:
            try:
                running.append(run_camera(camera))
            except Exception as error:  # of one camera: the others, and the server, go on
                log.exception("camera %s: cannot be run", camera.name)
                unrun.warning = f"the camera {camera.name} cannot be run ({type(error).__name__}): see the server's log"
        return running

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if plant is not None:
            plant.start(lambda: streams.names)
        access.start()
        records.start()
        archive.start()
        await teachings.open()
        if replicas is not None:
            replicas.start(pool.employ, lambda: pool.waiting)
        pool.start()  # frames are shown to a teaching before there is any model
        preparing = asyncio.create_task(prepare())
        cameras = run_cameras()
        kept_cameras.start(run_camera)
        sinks.start()
        attending.start()
        freeing.start()
        try:
            yield
        finally:
            teacher.stop()
            preparing.cancel()
            workshop.shutdown(wait=False, cancel_futures=True)
            await ended(
                IN_S,
                preparing=preparing,
                webrtc=webrtc.close(),
                simulated_line=simulating.stop(),
                attending=attending.stop(),
                freeing=freeing.stop(),
                following=following.stop(),
                teachings=teachings.close(),
                kept_cameras=kept_cameras.stop(),
                **{f"camera_{camera}": one.stop() for camera, one in enumerate(cameras)},
            )
            library.close()
            pool.close()
            await ended(
                OUT_S,
                sinks=sinks.stop(),
                archive_and_history=_written(archive, records),
                access=access.close(),
                **({} if replicas is None else {"replicas": replicas.stop()}),
            )
            if plant is not None:
                await ended(PLANT_S, plant=asyncio.to_thread(plant.close))

    recipes = Recipes(settings, library, inspection, streams, held)
    saying = Saying(library, Correcting(library, inspection))
    archived = Archived(archive, records, saying, teachings, library, inspection)
    numbers = LineNumbers(records, settings.shifts)
    backups = Backups(settings.data_dir)
    routes: list[BaseRoute] = [
        *Pages(templates).routes,
        *Kiosk(templates, settings.allowed_origins).routes,
        *health.routes,
        *Predict(settings, inspection, pool, held).routes,
        *calibrate.routes,
        *CalibrationDrafts(inspection, streams, calibrate.drafts, calibrate.judge).routes,
        *StreamList(streams).routes,
        *Frames(streams, inspection).routes,
        *recipes.routes,
        *Corrections(saying, streams, recipes, archived.told_live).routes,
        *History(records).routes,
        *archived.routes,
        *numbers.routes,
        *ShiftReport(templates, records, archive, inspection, settings.shifts, numbers).routes,
        *Teach(settings, teachings, library, held).routes,
        *CameraList(settings, streams, kept_cameras, Trials(settings.max_frame_pixels)).routes,
        *SinkList(sinks).routes,
        *SettingsList(settings, in_service).routes,
        *Metrics(totals, [of_streams, drifts, OfSinks(sinks), OfRecords(lambda: records.state), archive]).routes,
        *phone.routes,
        *Me(access).routes,
        *Users(access).routes,
        *Tokens(access).routes,
        *Sessions(access, phone.reached_at).routes,
        *AuditLog(access).routes,
        *backups.routes,
        *ConnectionCheck(origins).routes,
        *webrtc.routes,
        *Whip(webrtc).routes,
        Mount("/static", needs(Role.NOBODY)(StaticFiles(directory=page_folder("static")))),
    ]
    routes += Documents(templates, routes).routes
    handlers: dict[Any, Any] = {HTTPException: answer_http_error, **dict.fromkeys(ERRORS, answer_error)}
    routes += [
        WebSocketRoute("/ws/stream", StreamSocket(streams, settings.max_frame_pixels).serve),
        WebSocketRoute("/ws/live/{name}", LiveSocket(streams).serve),
        WebSocketRoute(
            "/ws/api", ApiSocket(ExceptionMiddleware(Router(routes, redirect_slashes=False), handlers)).serve
        ),
    ]
    guard(routes)
    app = Starlette(
        routes=routes,
        middleware=[
            *_for_other_pages(settings.allowed_origins),
            Middleware(SecurityHeaders, shared=bool(settings.allowed_origins)),
            Middleware(AccessMiddleware, access=access, routes=routes, origins=origins),
        ],
        exception_handlers={**handlers, Exception: answer_error},
        lifespan=lifespan,
    )
    # A redirect to the path with another slash would name whatever Host the request did.
    app.router.redirect_slashes = False
    app.state.hub, app.state.pool, app.state.access, app.state.backups = hub, pool, access, backups
    app.state.health, app.state.watched, app.state.in_service = health, watched, in_service
    return app


async def _followed(plant: Plant | None, library: Library, inspection: Inspection, streams: Streams) -> None:
    """Put in force what other gateways change; what could not be fetched is tried again now and then."""
    while plant is not None:
        await plant.news(FETCH_AGAIN_S)
        if not plant.is_behind and library.behind.warning is None:
            continue
        if await asyncio.to_thread(inspection.renew):
            streams.tell_changed("another gateway")
        await library.renew()


async def _written(archive: Archive, records: Records) -> None:
    """What waits for the disk is on it; of a picture the history is told once it is there."""
    await ended(0.7, archive=archive.stop())
    await records.close()


def _for_other_pages(origins: Sequence[str]) -> list[Middleware]:
    """Let scripts of pages of these origins read the answers, and send what browsers ask about before (CORS)."""
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["Authorization"],
            allow_credentials=True,
            expose_headers=["Link", "Location", "Retry-After", "WWW-Authenticate"],
        )
    ]


class SecurityHeaders:
    """Pages load nothing from elsewhere, cannot be framed, tell no other site where somebody was, and are fetched anew
    after an update; pictures and scripts are not shown on other sites.

    HTTPS is not made a promise for later (HSTS): browsers would let nobody past a certificate made here.

    Args:
        app: the application.
        shared: whether pages of other origins may use it.
    """

    def __init__(self, app: ASGIApp, *, shared: bool = False) -> None:
        self._app = app
        self._resources = "cross-origin" if shared else "same-origin"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", content_policy())
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Referrer-Policy", "same-origin")
                headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
                headers.setdefault("Cross-Origin-Resource-Policy", self._resources)
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _replicas(settings: Settings, inspection: Inspection) -> Replicas:
    """Who looks at frames instead of this process."""
    wanted = ReplicasWanted(*settings.ray_replicas, settings.ray_cpus, settings.ray_gpus)
    cluster = RayCluster(settings.ray_address, settings.data_dir / "ray", wanted)
    # A frame is given up there before the thread that waits for it is taken for one that hangs.
    replicas = Replicas(cluster, wanted, lambda: inspection.models, call_s=0.75 * settings.watchdog_s)
    inspection.looker = replicas
    return replicas


def _loaded(settings: Settings) -> MakeModel | None:
    """What loads the model that the settings give, if they do: the recipes of a plant bring their own."""
    path = settings.model_path
    return None if path is None else lambda: _load(path, settings)


def _load(path: Path, settings: Settings) -> Detector:
    model = load(path, runtime_name=settings.runtime, workers=settings.workers)
    if settings.image_size not in (None, model.image_size):
        raise DetectorError(
            f"IMAGE_SIZE is {settings.image_size}, but {path} was made for {model.image_size}: "
            "remove the setting, or teach the model again with that --image-size"
        )
    return model
