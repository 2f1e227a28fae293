"""OPC UA through a whole server, with asyncua's client: states, jobs, results, events, recipes, who may come in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect

pytest.importorskip("asyncua", reason="the extra opcua is not installed")

from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from asyncua.crypto.uacrypto import CertProperties

from server.sinks import running_sink
from server.sinks.opcua import sink
from server.sinks.opcua.model import OWN, STANDARD
from server.sinks.opcua.security import make_identity
from tests.running import ROOT, Running
from tests.server.camera_fakes import free_port
from tests.server.fakes import BAD, GOOD, FakeModel, http, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

RECIPE = "given-aaaaaaaaaaaa"
STARTED_WITHIN_S = 200.0
"""Two such processes on a busy machine."""
WITHIN_S = 30.0
"""Also of the client's watchdog, which gives a busy machine one second by default."""
USER, PASSWORD = "plc", "right horse battery"


@dataclass
class Plant:
    """A server with two OPC UA sinks: ``open`` on this machine, and ``closed``, encrypted, with a user and a list."""

    server: Running
    model: FakeModel
    folder: Path
    ports: dict[str, int]
    ids: dict[str, str] = field(default_factory=dict)

    async def state(self, name: str) -> dict[str, Any]:
        async with http(self.server) as client:
            sinks = (await client.get("/api/sinks")).json()["sinks"]
        return next(one for one in sinks if one["name"] == name)

    async def until_up(self, name: str) -> dict[str, Any]:
        return await eventually(lambda: self.state(name), lambda state: state["state"] == "up", STARTED_WITHIN_S)


async def eventually(ask: Callable[[], Any], is_it: Callable[[Any], bool], within_s: float = WITHIN_S) -> Any:
    async with asyncio.timeout(within_s):
        while not is_it(answer := await ask()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        return answer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plant(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Plant]:
    model, folder = FakeModel(), tmp_path_factory.mktemp("opcua")
    patience = pytest.MonkeyPatch()
    patience.setattr(sink, "STARTED_WITHIN_S", STARTED_WITHIN_S)
    patience.setattr(running_sink, "PATIENCE_S", STARTED_WITHIN_S)
    ports = {"open": free_port(), "closed": free_port()}
    closed = {"security": "encrypted", "user": USER, "password": PASSWORD, "clients": "trusted", "streams": "belt"}
    async with serving(model, folder) as server:
        plant = Plant(server, model, folder, ports)
        async with http(server) as client:
            for name, settings in {"open": {"security": "open"}, "closed": closed}.items():
                body = {"kind": "opcua", "name": name, "enabled": True, "settings": {"port": ports[name]} | settings}
                added = await client.post("/api/sinks", json=body)
                assert added.status_code == 201, added.text
                plant.ids[name] = added.json()["id"]
        await asyncio.gather(plant.until_up("open"), plant.until_up("closed"))
        yield plant
    patience.undo()


@dataclass
class View:
    """A client of one vision system."""

    client: Client
    system: Any
    standard: int
    own: int

    async def at(self, *path: str) -> Any:
        return await self.system.get_child([ua.QualifiedName(one, self.standard) for one in path])

    async def plain(self, name: str) -> Any:
        path = [ua.QualifiedName(one, self.own) for one in ("DefectVision", name)]
        return await (await self.system.get_child(path)).read_value()

    async def is_in(self, state: str) -> None:
        last = ""

        async def now() -> str:
            nonlocal last
            last = f"{await self.plain('State')}: {await self.plain('StateWords')}"
            return last

        try:
            await eventually(now, lambda words: words.startswith(f"{state}: "))
        except TimeoutError:
            raise AssertionError(f"it is {last}") from None

    async def call(self, path: str, method: str, *arguments: Any) -> Any:
        node = await self.at(*path.split("/"))
        return await node.call_method(ua.QualifiedName(method, self.standard), *arguments)

    async def job(self, part: str | None = None, meas: str | None = None, recipe: str | None = None) -> str:
        arguments = [
            structure(ua.MeasIdDataType, meas),
            structure(ua.PartIdDataType, part),
            structure(ua.RecipeIdExternalDataType, recipe),
            structure(ua.ProductIdDataType, "P-7"),
            ua.Variant([], ua.VariantType.Variant, is_array=True),
        ]
        id, error = await self.call(MACHINE, "StartSingleJob", *arguments)
        assert error == 0
        return str(id.Id)


MACHINE = "VisionStateMachine/AutomaticModeStateMachine"


def client_of(plant: Plant, name: str) -> Client:
    address = f"opc.tcp://127.0.0.1:{plant.ports[name]}/"
    return Client(address, timeout=WITHIN_S, watchdog_intervall=WITHIN_S)


def structure(kind: Any, id: str | None) -> Any:
    return ua.Variant(kind(Id=id or ""), ua.VariantType.ExtensionObject)


def text(value: str) -> Any:
    return ua.Variant(value, ua.VariantType.String)


def number(value: int, kind: Any = ua.VariantType.Int32) -> Any:
    return ua.Variant(value, kind)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(plant: Plant) -> AsyncIterator[Client]:
    async with Client(
        f"opc.tcp://127.0.0.1:{plant.ports['open']}/", timeout=WITHIN_S, watchdog_intervall=WITHIN_S
    ) as client:
        await client.load_data_type_definitions()
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def camera(plant: Plant) -> AsyncIterator[ClientConnection]:
    async with connect(f"{plant.server.ws}/ws/stream?name=press") as camera:
        yield camera


async def view(client: Client, stream: str = "press") -> View:
    own, standard = [await client.get_namespace_index(one) for one in (OWN, STANDARD)]

    async def there() -> Any:
        with contextlib.suppress(ua.UaError):
            return await client.nodes.objects.get_child(ua.QualifiedName(stream, own))
        return None

    return View(client, await eventually(there, lambda node: node is not None), standard, own)


async def by(plant: Plant, rule: str, **more: Any) -> None:
    """What a part is from now on."""
    async with http(plant.server) as client:
        for recipe in (await client.get("/api/recipes")).json()["recipes"]:
            version = (await client.get(f"/api/recipes/{recipe['id']}")).json()["version"]
            body = {"version": version, "parts": {"by": rule, **more}}
            answer = await client.patch(f"/api/recipes/{recipe['id']}", json=body)
            assert answer.status_code == 200, answer.text


class Events:
    """Hears events of one type. asyncua wants the type, or leaves its fields out."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[Any] = asyncio.Queue()

    def event_notification(self, event: Any) -> None:
        self.heard.put_nowait(event)

    async def next(self) -> Any:
        async with asyncio.timeout(WITHIN_S):
            return await self.heard.get()


@contextlib.asynccontextmanager
async def events(system: View, number: int) -> AsyncIterator[Events]:
    heard = Events()
    subscription = await system.client.create_subscription(10, heard)
    await subscription.subscribe_events(system.system, system.client.get_node(ua.NodeId(number, system.standard)))
    try:
        yield heard
    finally:
        await subscription.delete()


async def test_one_job_is_one_result_with_all_that_is_mandatory(
    plant: Plant, client: Client, camera: ClientConnection
) -> None:
    await by(plant, "trigger", within_ms=60_000)
    await camera.send(GOOD)
    system = await view(client)
    await system.is_in("Ready")
    assert (await (await system.at("VisionStateMachine")).read_type_definition()).Identifier == 1017
    async with events(system, 1024) as results, events(system, 1018) as steps, events(system, 1013) as started:
        job = await system.job(part="A-1", meas="m-1")
        assert (await started.next()).JobId.Id == job
        assert (await steps.next()).Transition.Text == "ReadyToSingleExecution"
        assert await system.plain("State") == "SingleExecution"
        await camera.send(BAD)
        told = await results.next()
        back = await steps.next()
        assert back.Transition.Text == "SingleExecutionToReadyAuto" and back.ToState.Text == "Ready"
    id = told.ResultId.Id
    handle, result, error = await system.call(
        "ResultManagement", "GetResultById", structure(ua.ResultIdDataType, id), number(1000)
    )
    assert (handle, error, result.ResultId.Id, result.JobId.Id) == (0, 0, id, job)
    assert (result.MeasId.Id, result.PartId.Id, result.ProductId.Id) == ("m-1", "A-1", "P-7")
    assert (result.IsPartial, result.ResultState, result.IsSimulated) == (False, 1, False)
    assert result.InternalRecipeId.Id == RECIPE and result.InternalConfigurationId.Id == "a" * 64
    assert result.CreationTime == told.CreationTime == result.ProcessingTimes.EndTime
    contents = {one.Key.Name: one.Value.Value for one in (two.Value for two in result.ResultContent)}
    assert contents["Verdict"] == "ANOMALY" and contents["RawScore"] == pytest.approx(150, abs=3)
    assert contents["Threshold"] == 100 and 0.5 < contents["Score"] <= 1
    assert (told.JobId.Id, told.PartId.Id, told.ResultState, told.IsSimulated) == (job, "A-1", 1, False)
    assert told.ResultContent[0].Value.Key.Name == "Verdict"
    assert await system.plain("Verdict") == "ANOMALY" and await system.plain("PartId") == "A-1"
    results_folder = await system.at("ResultManagement", "Results")
    latest = await results_folder.get_child(ua.QualifiedName("Latest", system.own))
    assert (await latest.read_value()).JobId.Id == job
    parts = {(await one.read_browse_name()).Name: await one.read_value() for one in await latest.get_children()}
    assert set(parts) >= {"ResultId", "IsPartial", "ResultState", "InternalRecipeId", "JobId", "CreationTime"}
    assert parts["JobId"].Id == job and parts["ResultState"] == 1
    components = await system.call(
        "ResultManagement", "GetResultComponentsById", structure(ua.ResultIdDataType, id), number(0)
    )
    assert len(components) == 17 and components[6].Id == "A-1" and components[12].Id == job
    with pytest.raises(ua.uaerrors.BadNotFound):
        await system.call("ResultManagement", "GetResultById", structure(ua.ResultIdDataType, "none"), number(0))


async def test_results_are_listed_by_what_is_asked_for(plant: Plant, client: Client, camera: ClientConnection) -> None:
    await by(plant, "trigger", within_ms=60_000)
    await camera.send(GOOD)
    system = await view(client)
    await system.is_in("Ready")
    async with events(system, 1024) as results:
        for part in ("B-1", "B-2", "B-1"):
            await system.job(part=part)
            await camera.send(GOOD)
            assert (await results.next()).PartId.Id == part

    async def listed(part: str, most: int = 0, start: int = 0) -> tuple[bool, int, list[Any]]:
        kinds = [
            ua.MeasIdDataType,
            ua.PartIdDataType,
            ua.RecipeIdExternalDataType,
            ua.RecipeIdInternalDataType,
            ua.ConfigurationIdDataType,
            ua.ConfigurationIdDataType,
            ua.ProductIdDataType,
            ua.JobIdDataType,
        ]
        ids = [structure(kind, part if kind is ua.PartIdDataType else None) for kind in kinds]
        page = [number(most, ua.VariantType.UInt32), number(start, ua.VariantType.UInt32), number(0)]
        complete, count, _, found, error = await system.call(
            "ResultManagement", "GetResultListFiltered", number(0), *ids, *page
        )
        assert error == 0 and count == len(found)
        return complete, count, found

    complete, count, found = await listed("B-1")
    assert (complete, count) == (True, 2) and found[0].CreationTime > found[1].CreationTime
    assert (await listed("B-1", most=1))[:2] == (False, 1) and (await listed("B-1", most=1, start=1))[:2] == (True, 1)
    assert await listed("nobody") == (True, 0, [])
    with pytest.raises(ua.uaerrors.BadArgumentsMissing):
        await system.call("ResultManagement", "GetResultById", structure(ua.ResultIdDataType, "x"))


async def test_a_free_running_stream_is_in_continuous_execution(
    plant: Plant, client: Client, camera: ClientConnection
) -> None:
    await by(plant, "line")
    await camera.send(GOOD)
    system = await view(client)
    await system.is_in("ContinuousExecution")
    with pytest.raises(ua.uaerrors.BadInvalidState):
        await system.job()
    async with events(system, 1023) as ready, events(system, 1013) as started:
        await system.call(MACHINE, "Stop", number(1), text("shift ends"))
        assert await system.plain("State") == "Ready" and (await ready.next()).JobId.Id.startswith("press-")
        empty = [
            structure(kind, None)
            for kind in (ua.MeasIdDataType, ua.PartIdDataType, ua.RecipeIdExternalDataType, ua.ProductIdDataType)
        ]
        parameters = ua.Variant([], ua.VariantType.Variant, is_array=True)
        job, error = await system.call(MACHINE, "StartContinuous", *empty, parameters)
        assert error == 0 and (await started.next()).JobId.Id == job.Id
    assert await system.plain("State") == "ContinuousExecution"


async def test_halt_takes_no_jobs_until_reset(plant: Plant, client: Client, camera: ClientConnection) -> None:
    await by(plant, "trigger", within_ms=60_000)
    await camera.send(GOOD)
    system = await view(client)
    await system.is_in("Ready")
    async with events(system, 1018) as steps:
        await system.call("VisionStateMachine", "Halt", number(1), text("tool change"))
        assert (await steps.next()).Transition.Text == "OperationalToHalted"
        with pytest.raises(ua.uaerrors.BadInvalidState):
            await system.job()
        automatic = await system.at("VisionStateMachine", "AutomaticModeStateMachine")
        current = await automatic.get_child(ua.QualifiedName("CurrentState", 0))
        with pytest.raises(ua.uaerrors.BadStateNotActive):
            await current.read_value()
        await system.call("VisionStateMachine", "Reset", number(1), text(""))
        names = [(await steps.next()).Transition.Text for _ in range(3)]
    assert names == ["HaltedToPreoperational", "PreoperationalToOperationalAuto", "InitializedToReadyAuto"]
    assert await system.call("VisionStateMachine", "SelectModeAutomatic") == 0


async def test_an_aborted_job_says_so_in_its_result(plant: Plant, client: Client, camera: ClientConnection) -> None:
    await by(plant, "trigger", within_ms=60_000)
    await camera.send(GOOD)
    system = await view(client)
    await system.is_in("Ready")
    async with events(system, 1024) as results:
        await system.job(part="C-1")
        await system.call(MACHINE, "Abort", number(1), text("wrong part"))
        await camera.send(GOOD)
        assert (await results.next()).ResultState == 3


async def test_without_its_camera_it_is_in_error_and_a_part_that_failed_says_so(plant: Plant, client: Client) -> None:
    await by(plant, "trigger", within_ms=60_000)
    async with connect(f"{plant.server.ws}/ws/stream?name=press") as camera:
        await camera.send(GOOD)
        system = await view(client)
        await system.is_in("Ready")
        async with events(system, 1024) as results, events(system, 1019) as errors:
            await system.job(part="D-1")
            await camera.close()
            told = await results.next()
            assert (told.ResultState, told.PartId.Id) == (4, "D-1")
            assert "no camera" in (await errors.next()).Message.Text
    await system.is_in("Error")
    with pytest.raises(ua.uaerrors.BadInvalidState):
        await system.job()
    assert "camera" in await system.plain("LastRefusal")
    state = await system.at("SystemState")
    assert (await state.read_value()).State == 5


async def test_recipes_are_listed_and_prepared(plant: Plant, client: Client, camera: ClientConnection) -> None:
    await by(plant, "trigger", within_ms=60_000)
    await camera.send(GOOD)
    system = await view(client)
    await system.is_in("Ready")

    async def listed(prepared: int) -> list[Any]:
        external, product = structure(ua.RecipeIdExternalDataType, None), structure(ua.ProductIdDataType, None)
        page = [number(0, ua.VariantType.UInt32), number(0, ua.VariantType.UInt32), number(0)]
        answer = await system.call(
            "RecipeManagement", "GetRecipeListFiltered", external, product, number(prepared), *page
        )
        return list(answer[3])

    assert len(await listed(2)) == 1 and len(await listed(1)) == 1 and await listed(0) == []
    none = structure(ua.RecipeIdInternalDataType, None)
    prepare = ("RecipeManagement", "PrepareRecipe")
    async with events(system, 1022) as prepared:
        chosen = await system.call(*prepare, structure(ua.RecipeIdExternalDataType, "fake part"), none)
        assert chosen[1:] == [True, 0] and (await prepared.next()).Message.Text == f"press has recipe {RECIPE}"
    with pytest.raises(ua.uaerrors.BadInvalidArgument):
        await system.call(*prepare, structure(ua.RecipeIdExternalDataType, "no such"), none)
    with pytest.raises(ua.uaerrors.BadInvalidState):
        await system.job(recipe="another")
    assert "PrepareRecipe another first" in await system.plain("LastRefusal")
    with pytest.raises(ua.uaerrors.BadNotSupported):
        await system.call("RecipeManagement", "UnprepareRecipe", none, none)


async def test_nothing_of_it_can_be_written_and_nothing_added(client: Client, plant: Plant) -> None:
    system = await view(client)
    machine = await system.at("VisionStateMachine")
    current = await machine.get_child(ua.QualifiedName("CurrentState", 0))
    with pytest.raises(ua.UaStatusCodeError):
        await current.write_value(ua.LocalizedText("Ready"))
    with pytest.raises(ua.UaStatusCodeError):
        await system.system.add_object(system.own, "mine")
    subscription = await client.create_subscription(0.001, Events())
    assert subscription.parameters is not None
    with pytest.raises(ua.UaStatusCodeError):
        await subscription.subscribe_data_change([current] * 1001)
    await subscription.delete()


async def test_the_test_button_says_what_a_client_sees(plant: Plant, client: Client) -> None:
    await view(client)
    async with httpx.AsyncClient(base_url=plant.server.http, trust_env=False, timeout=60) as http:
        for name, said in {"open": "press is", "closed": "over an encrypted channel: belt is Error"}.items():
            answer = (await http.post(f"/api/sinks/{plant.ids[name]}/test")).json()
            assert answer["ok"] and said in answer["words"], answer


async def test_only_who_is_trusted_and_knows_the_password_comes_in(plant: Plant, tmp_path: Path) -> None:
    folder = plant.folder / "opcua" / "closed"
    assert (folder / "own.key").stat().st_mode & 0o077 == 0
    made = make_identity("urn:test:client", "a client", ["localhost"])
    certificate, key = CertProperties(made.certificate, "der"), CertProperties(made.key, "pem")

    async def come_in(user: str | None, password: str = "", *, encrypted: bool = True) -> None:
        client = client_of(plant, "closed")
        client.application_uri = "urn:test:client"
        if user is not None:
            client.set_user(user)
            client.set_password(password)
        if encrypted:
            await client.set_security(SecurityPolicyBasic256Sha256, certificate, key)
        async with client:
            await view(client, "belt")

    with pytest.raises(ua.UaStatusCodeError):
        await come_in(USER, PASSWORD)
    (rejected,) = (folder / "rejected").iterdir()
    rejected.rename(folder / "trusted" / rejected.name)
    await come_in(USER, PASSWORD)
    for user, password in ((USER, "wrong"), ("other", PASSWORD), (None, "")):
        with pytest.raises(ua.UaStatusCodeError):
            await come_in(user, password)
    with pytest.raises((ua.UaError, ConnectionError, TimeoutError)):
        await come_in(USER, PASSWORD, encrypted=False)
    for said in ("2 logins were refused", "1 client was not trusted"):
        await eventually(lambda: plant.state("closed"), lambda state, said=said: said in state["words"])


async def test_hostile_bytes_cut_their_own_connection_alone(
    plant: Plant, client: Client, camera: ClientConnection
) -> None:
    port = plant.ports["open"]
    huge = b"MSGF" + (0xFFFFFFF0).to_bytes(4, "little") + b"\0" * 4000
    hello = b"HELF" + (32).to_bytes(4, "little") + b"\0" * 20 + (0x7FFFFFFF).to_bytes(4, "little")
    back = b"HELF" + (32).to_bytes(4, "little") + b"\0" * 20 + (0x80000001).to_bytes(4, "little")
    attacks = [b"GET / HTTP/1.1\r\n\r\n" * 50, b"\0" * 100_000, huge, hello, back, b"OPNF\x08\0\0\0", b"HELF\0\0\0\0"]
    for attack in attacks:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError):
            writer.write(attack)
            await writer.drain()
            async with asyncio.timeout(WITHIN_S):
                while await reader.read(4096):
                    pass
        writer.close()
    await by(plant, "trigger", within_ms=60_000)
    await camera.send(GOOD)
    system = await view(client)
    await system.is_in("Ready")
    state = await eventually(lambda: plant.state("open"), lambda state: "cut off" in state["words"])
    assert state["state"] == "up" and state["failures"] == 0


async def test_a_trigger_while_busy_is_refused_in_words_and_many_do_the_next_one_no_harm(
    plant: Plant, client: Client, camera: ClientConnection
) -> None:
    await by(plant, "trigger", within_ms=60_000)
    await camera.send(GOOD)
    system = await view(client)
    await system.is_in("Ready")
    async with events(system, 1024) as results:
        job = await system.job(part="E-1")
        with pytest.raises(ua.uaerrors.BadInvalidState):
            await system.job(part="E-2")
        assert "busy" in await system.plain("LastRefusal")
        told = await results.next()
        contents = {one.Key.Name: one.Value.Value for one in (two.Value for two in told.ResultContent)}
        assert (told.JobId.Id, told.PartId.Id, contents["Verdict"]) == (job, "E-1", "FAILED"), "it may be gone"

        answers = await asyncio.gather(*(system.job() for _ in range(60)), return_exceptions=True)
        refused = [one for one in answers if not isinstance(one, str)]
        assert {type(one) for one in refused} == {ua.uaerrors.BadInvalidState}
        assert await system.plain("Refused") > len(refused)
        await camera.send(GOOD)
        await system.is_in("Ready")
        job = await eventually(lambda: asyncio.gather(system.job(part="E-3"), return_exceptions=True), _is_taken)
        await camera.send(GOOD)
        while (told := await results.next()).JobId.Id != job[0]:
            pass
        assert told.PartId.Id == "E-3"


def _is_taken(answers: list[Any]) -> bool:
    return isinstance(answers[0], str)


async def test_the_client_in_the_docs(
    plant: Plant, client: Client, camera: ClientConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "docs" / "opcua.md").read_text()
    code = text.partition("<!-- example -->\n```python\n")[2].partition("```")[0]
    assert 0 < len(code.splitlines()) <= 40
    await by(plant, "trigger", within_ms=60_000)
    await camera.send(GOOD)
    system = await view(client)
    await system.is_in("Ready")
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, "docs/opcua.md", "exec"), names)
    example = asyncio.create_task(names["main"](f"opc.tcp://127.0.0.1:{plant.ports['open']}/", "press", "G-1"))
    running = asyncio.create_task(system.is_in("SingleExecution"))
    await asyncio.wait({example, running}, return_when=asyncio.FIRST_COMPLETED)
    await (example if example.done() else running)
    await camera.send(BAD)
    async with asyncio.timeout(WITHIN_S):
        await example
    assert capsys.readouterr().out.startswith("G-1 ANOMALY 1")


async def test_switched_off_and_on_in_mid_run_nothing_else_stops_and_nothing_waits_for_it(
    plant: Plant, camera: ClientConnection
) -> None:
    """Last: it ends the connection of the others."""
    await by(plant, "trigger", within_ms=60_000)
    async with http(plant.server) as api, connect(f"{plant.server.ws}/ws/live/press") as hmi:
        await camera.send(GOOD)
        switched = await api.patch(f"/api/sinks/{plant.ids['open']}", json={"enabled": False})
        assert switched.status_code == 200, switched.text
        taken = await api.post("/api/streams/press/trigger", json={"part": "F-1"})
        assert taken.status_code == 202
        await camera.send(GOOD)
        async with asyncio.timeout(WITHIN_S):
            while '"type":"part"' not in await hmi.recv():
                pass
        await api.patch(f"/api/sinks/{plant.ids['open']}", json={"enabled": True})
        await plant.until_up("open")
        async with Client(
            f"opc.tcp://127.0.0.1:{plant.ports['open']}/", timeout=WITHIN_S, watchdog_intervall=WITHIN_S
        ) as again:
            await again.load_data_type_definitions()
            system = await view(again)
            await system.is_in("Ready")
            async with events(system, 1024) as results:
                await system.job(part="F-2")
                await camera.send(GOOD)
                assert (await results.next()).PartId.Id == "F-2"
