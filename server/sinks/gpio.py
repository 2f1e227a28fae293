"""Wires of this machine through libgpiod: a reject pulse, a ready or heartbeat output, a trigger input."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import time
from collections.abc import Callable, Coroutine
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast

from msgspec import Meta, Struct

from detector.counted import counted
from server.sinks.hand import Hand
from server.sinks.kind import Around, Kind
from server.sinks.sink import Outbox, Outgoing, SinkError, TriggerRefused
from server.words import PartResult, Result, check_name

if TYPE_CHECKING:
    import gpiod

T = TypeVar("T")

LATE_S = 1.0
"""A pulse that comes so long after its verdict would reject another part: it is not given."""
GAP_S = 0.02
"""Between two pulses, at the least: whoever counts edges counts both."""
ANSWERS_S = 2.0
"""A chip that takes longer for one change hangs."""
BEAT_S = 0.5
"""Half of a heartbeat: 1 Hz."""
TROUBLE_S = 60.0
"""For so long is said that a bad part passed without a pulse, unless a pulse follows."""
OLD_EDGE_S = 0.1
"""An edge that is heard of so long after it came would inspect another part: it triggers nothing."""
MOST_EDGES_A_S = 200
"""More are chatter."""
SPENT_AT_ONCE = 16
"""Edges that are read in one go."""

_begun: dict[str, str] = {}
"""Of each sink the event whose pulse was begun and is not confirmed yet: a run that takes over in between is handed it
once more, and gives no second pulse."""

LineId = Annotated[str, Meta(max_length=64, pattern=r"^[\x21-\x7e]*$")]


class GpioSettings(Struct, frozen=True, forbid_unknown_fields=True):
    chip: Annotated[
        str,
        Meta(
            title="Chip",
            description="The device of the lines: gpiodetect lists them.",
            pattern=r"^/dev/gpiochip[0-9]{1,3}$",
        ),
    ] = "/dev/gpiochip0"
    reject: Annotated[
        LineId,
        Meta(
            title="Reject line",
            description="A pulse for each part that is not NORMAL, and where a free-running verdict turns to ANOMALY. "
            "Its number or name; empty: none.",
            extra={"placeholder": "17"},
        ),
    ] = ""
    reject_ms: Annotated[int, Meta(title="Length of the pulse", ge=1, le=5000, extra={"unit": "ms"})] = 100
    ready: Annotated[
        LineId,
        Meta(
            title="Ready line",
            description="Active while this server has the lines. Its number or name; empty: none.",
            extra={"placeholder": "27"},
        ),
    ] = ""
    ready_as: Annotated[
        Literal["steady", "heartbeat"],
        Meta(title="Ready is", description="A heartbeat, 1 Hz, also tells a machine that hangs."),
    ] = "heartbeat"
    active_low: Annotated[bool, Meta(title="Outputs are active low")] = False
    trigger: Annotated[
        LineId,
        Meta(
            title="Trigger line",
            description="An edge to active inspects the part under the camera. Its number or name; empty: none.",
            extra={"placeholder": "22"},
        ),
    ] = ""
    trigger_stream: Annotated[
        str,
        Meta(title="Stream that is triggered", description="Its name.", max_length=64, extra={"placeholder": "press"}),
    ] = ""
    debounce_ms: Annotated[
        int,
        Meta(title="Debounce", description="Shorter changes are none.", ge=0, le=1000, extra={"unit": "ms"}),
    ] = 5
    trigger_active_low: Annotated[bool, Meta(title="The trigger is active low", extra={"more": True})] = False
    pull: Annotated[
        Literal["as it is", "up", "down"],
        Meta(title="Resistor of the trigger", description="Where the chip has them.", extra={"more": True}),
    ] = "as it is"


def check(settings: GpioSettings, around: Around) -> None:
    """Raise ValueError where no such wiring can be."""
    lines = [line for line in (settings.reject, settings.ready, settings.trigger) if line]
    if not lines:
        raise ValueError("no line is named: give a reject, ready or trigger line")
    if len(set(map(_line, lines))) < len(lines):
        raise ValueError("two of the lines are the same one")
    if settings.trigger:
        try:
            check_name(settings.trigger_stream)
        except ValueError:
            raise ValueError("say which stream the trigger line triggers") from None


def _line(text: str) -> int | str:
    """As libgpiod takes it: a number, or a name."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else text


class Gpio:
    """Requests and changes of outputs happen in a thread: some chips hang on a bus."""

    def __init__(self, settings: GpioSettings, around: Around) -> None:
        self._settings, self._around = settings, around
        self._hand: Hand | None = None
        self._outputs: gpiod.LineRequest | None = None
        self._input: gpiod.LineRequest | None = None
        self._pulsing = asyncio.Lock()
        self._triggers = self._refused = self._pulses = self._late = 0
        self._passed = 0
        """Bad parts without a pulse that are told as trouble."""
        self._told_until: asyncio.TimerHandle | None = None
        self._second, self._edges = 0.0, 0
        self._why_refused = ""

    async def run(self, outbox: Outbox) -> None:
        if self._settings.trigger and self._around.line is None:
            raise SinkError("this server takes no triggers: leave the trigger line empty")
        async with contextlib.AsyncExitStack() as held:
            await self._open(held, self._around.id)
            outbox.is_up(self._words())
            broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if self._input is not None:
                self._listen(outbox, held, broken)
            await _first_of(self._feed(outbox), self._beat(), _ends(broken))

    async def test(self) -> str:
        """Pulses the reject line once, by the request that runs where there is one."""
        async with contextlib.AsyncExitStack() as held:
            if self._hand is None:
                await self._open(held, f"{self._around.id} test")
            said = []
            if self._settings.reject:
                await self._pulse(self._activate)
                said.append(f"the reject line {self._settings.reject} was active for {self._settings.reject_ms} ms")
            if self._settings.trigger:
                value = await self._do(self._look)
                said.append(f"the trigger line {self._settings.trigger} is {'active' if value else 'inactive'}")
            if self._settings.ready:
                said.append(f"the ready line {self._settings.ready} is there")
            return f"{', '.join(said)}, on {self._settings.chip}"

    # opening and closing

    async def _open(self, held: contextlib.AsyncExitStack, owner: str) -> None:
        self._hand = Hand(owner)
        held.callback(self._let_go)
        await self._do(self._request)

    def _request(self) -> None:
        import gpiod
        from gpiod.line import Bias, Clock, Direction, Edge, Value

        settings = self._settings
        consumer = f"defectvision {self._around.name}"[:31]
        outputs = [_line(line) for line in (settings.reject, settings.ready) if line]
        if outputs:
            about = gpiod.LineSettings(
                direction=Direction.OUTPUT, active_low=settings.active_low, output_value=Value.INACTIVE
            )
            self._outputs = gpiod.request_lines(settings.chip, consumer=consumer, config={tuple(outputs): about})
        if settings.trigger:
            about = gpiod.LineSettings(
                direction=Direction.INPUT,
                edge_detection=Edge.RISING,  # inactive to active, whichever voltage that is
                bias={"as it is": Bias.AS_IS, "up": Bias.PULL_UP, "down": Bias.PULL_DOWN}[settings.pull],
                active_low=settings.trigger_active_low,
                debounce_period=timedelta(milliseconds=settings.debounce_ms),
                event_clock=Clock.MONOTONIC,  # that of time.monotonic_ns
            )
            self._input = gpiod.request_lines(
                settings.chip, consumer=consumer, config={_line(settings.trigger): about}, event_buffer_size=64
            )

    def _let_go(self) -> None:
        """Waits for nothing."""
        hand, self._hand = self._hand, None
        if hand is not None:
            hand.finish(self._release)

    def _release(self) -> None:
        """In the thread, after what it does: also what was got only then, or half of it."""
        from gpiod.line import Value

        outputs, input_ = self._outputs, self._input
        self._outputs = self._input = None
        with contextlib.suppress(OSError):
            if outputs is not None:
                outputs.set_values(dict.fromkeys(outputs.offsets, Value.INACTIVE))
        for request in (outputs, input_):
            if request is not None:
                request.release()

    async def _do(self, what: Callable[[], T]) -> T:
        chip = self._settings.chip
        if self._hand is None:
            raise SinkError(f"the lines of {chip} were given back meanwhile: try again")
        try:
            return await self._hand.do(what, ANSWERS_S)
        except FileNotFoundError:
            raise SinkError(f"there is no {chip} on this machine: gpiodetect lists what there is") from None
        except PermissionError:
            raise SinkError(f"{chip} may not be used by this user: add it to the group of the device") from None
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise SinkError(f"a line of {chip} is used by another program: gpioinfo says by which") from None
            raise SinkError(f"the lines of {chip} do not work ({error.strerror or error})") from None
        except ValueError as error:
            raise SinkError(f"{chip} has no such line ({error}): gpioinfo lists them") from None

    # outputs

    async def _feed(self, outbox: Outbox) -> None:
        async for event in outbox:
            if not self._settings.reject or not _is_reject(event):
                outbox.confirm()
            elif _begun.get(self._around.id) == event.id or await self._pulse(partial(self._reject, event)):
                self._pulses += 1
                _begun.pop(self._around.id, None)
                outbox.confirm()
                self._ends_trouble(outbox)
            else:
                self._passes(outbox)

    async def _pulse(self, activate: Callable[[], bool]) -> bool:
        """``activate``: in the thread; returns what it does, and ends at once where that is False."""
        async with self._pulsing:
            try:
                if not await self._do(activate):
                    return False
                await asyncio.sleep(self._settings.reject_ms / 1000)
            finally:
                await self._set(self._settings.reject, active=False)
            await asyncio.sleep(GAP_S)
        return True

    def _activate(self) -> bool:
        self._put(self._settings.reject, active=True)
        return True

    def _reject(self, event: Outgoing) -> bool:
        """Whether its part is still there, now that a test, the pulse before and the chip have been waited for."""
        if _is_late(event):
            return False
        _begun[self._around.id] = event.id
        in_time = False
        try:
            in_time = self._activate() and not _is_late(event)  # by the chip
        finally:
            if not in_time:
                _begun.pop(self._around.id, None)
        return in_time

    def _passes(self, outbox: Outbox) -> None:
        self._late += 1
        self._passed += 1
        outbox.refuse("a reject pulse would have come too late, for another part: it was not given")
        outbox.is_in_trouble(
            f"{counted(self._passed, 'bad part')} passed without a pulse, which would have come too late, for another "
            "part: take out by hand what was not ejected"
        )
        if self._told_until is not None:
            self._told_until.cancel()
        self._told_until = asyncio.get_running_loop().call_later(TROUBLE_S, self._ends_trouble, outbox)

    def _ends_trouble(self, outbox: Outbox) -> None:
        if self._told_until is not None:
            self._told_until.cancel()
        self._passed, self._told_until = 0, None
        outbox.is_up(self._words())

    async def _beat(self) -> None:
        if not self._settings.ready:
            await asyncio.Event().wait()
        active = True
        while True:
            await self._set(self._settings.ready, active=active)
            if self._settings.ready_as == "steady":
                await asyncio.Event().wait()
            active = not active
            await asyncio.sleep(BEAT_S)

    async def _set(self, line: str, *, active: bool) -> None:
        await self._do(partial(self._put, line, active=active))

    def _put(self, line: str, *, active: bool) -> None:
        """In the thread."""
        from gpiod.line import Value

        assert self._outputs is not None
        self._outputs.set_value(_line(line), Value.ACTIVE if active else Value.INACTIVE)

    # input

    def _look(self) -> bool:
        """In the thread: whether the trigger line is active."""
        assert self._input is not None
        return bool(self._input.get_value(_line(self._settings.trigger)))

    def _listen(self, outbox: Outbox, held: contextlib.AsyncExitStack, broken: asyncio.Future[None]) -> None:
        loop = asyncio.get_running_loop()
        input_ = cast(Any, self._input)
        descriptor = input_.fd
        pause: list[asyncio.TimerHandle] = []

        def read() -> None:
            try:
                edges = input_.read_edge_events(SPENT_AT_ONCE)
            except OSError as error:
                loop.remove_reader(descriptor)
                if not broken.done():  # the lines are requested anew
                    broken.set_exception(SinkError(f"the trigger line cannot be read any more ({error.strerror})"))
                return
            if (now := loop.time()) - self._second >= 1.0:
                self._second, self._edges = now, 0
            self._edges += len(edges)
            if self._edges > MOST_EDGES_A_S:
                loop.remove_reader(descriptor)
                pause[:] = [loop.call_later(1.0, begin)]
                if self._around.line is not None:
                    self._around.line.missed(self._settings.trigger_stream)  # whichever of its edges is another part
                outbox.is_in_trouble(
                    f"the trigger line chatters, more than {MOST_EDGES_A_S} edges a second, and is read later: "
                    "see to the wire, or debounce for longer"
                )
                return
            for edge in edges:
                self._trigger(outbox, (time.monotonic_ns() - edge.timestamp_ns) / 1e9)

        def begin() -> None:
            is_held = self._input is input_
            if is_held:
                with contextlib.suppress(OSError):  # what chattered meanwhile triggers nothing; else read() says it
                    while input_.wait_edge_events(0.0):
                        input_.read_edge_events(SPENT_AT_ONCE)
                loop.add_reader(descriptor, read)

        def end() -> None:
            for one in pause:
                one.cancel()

        loop.add_reader(descriptor, read)
        held.callback(end)
        held.callback(lambda: loop.remove_reader(descriptor))

    def _trigger(self, outbox: Outbox, age_s: float) -> None:
        """``age_s``: seconds since the kernel saw the edge, which waits there while this machine stands still."""
        line, stream = self._around.line, self._settings.trigger_stream
        assert line is not None
        self._triggers += 1
        try:
            if age_s > OLD_EDGE_S:
                line.missed(stream)
                raise SinkError(f"it was heard of {age_s:.1f} s late, when another part may be there")
            line.trigger(stream, part=None, trigger_id=None, by="gpio")
        except (TriggerRefused, SinkError) as error:
            self._refused += 1
            self._why_refused = f" ({error})"
        if not self._passed:  # what is told of those is not hidden
            outbox.is_up(self._words())

    def _words(self) -> str:
        said = [f"has its lines of {self._settings.chip}"]
        if self._settings.reject:
            said.append(f"{self._pulses} reject pulses" + (f", {self._late} too late" if self._late else ""))
        if self._settings.trigger:
            said.append(f"{self._triggers} triggers, {self._refused} of them refused{self._why_refused}")
        return "; ".join(said)


def _is_late(event: Outgoing) -> bool:
    return time.monotonic() - event.told_at > LATE_S


def _is_reject(event: Outgoing) -> bool:
    match event.message:
        case PartResult():
            return event.message.verdict != "NORMAL"
        case Result():
            return event.what == "verdict" and event.message.verdict == "ANOMALY"
    return False


async def _ends(future: asyncio.Future[None]) -> None:
    await future


async def _first_of(*runs: Coroutine[Any, Any, None]) -> None:
    """Until one of them fails."""
    tasks = [asyncio.create_task(run) for run in runs]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


GPIO = Kind(
    name="gpio",
    title="Wires of this machine (GPIO)",
    about="A reject pulse, a ready or heartbeat output and a trigger input, through libgpiod.",
    settings=GpioSettings,
    make=Gpio,
    check=check,
    extra="gpio",
    modules=("gpiod",),
    keeps=False,  # a pulse is for the part that lies there now
    acts=True,
)
