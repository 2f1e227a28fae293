"""Where a stream is in the standard's states, and how it gets there."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from server.sinks import opcua
from server.sinks.opcua.states import State, state_of, ways
from server.sinks.opcua.words import Recipe, Standing

NODESET = Path(opcua.__file__).with_name("Opc.Ua.MachineVision.NodeSet2.xml")
SHA256 = "3e67454155a9618e0981aa8b3ee248f7a9ee216f9f915b53eb26a69533c0cc62"
MACHINES = {"ns=1;i=1017": "vision", "ns=1;i=1021": "automatic"}
LIVE = Standing("press", "live", "trigger", False, False, Recipe("r", "R", 1))


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({}, State.READY),
        ({"in_work": True}, State.SINGLE_EXECUTION),
        ({"by": "gate"}, State.CONTINUOUS_EXECUTION),
        ({"by": "line", "in_work": True}, State.CONTINUOUS_EXECUTION),
        ({"camera": "waiting"}, State.ERROR),
        ({"camera": "silent", "by": "gate"}, State.ERROR),
        ({"camera": "silent"}, State.READY),
        ({"camera": "teaching"}, State.INITIALIZED),
        ({"recipe": None, "camera": "waiting"}, State.PREOPERATIONAL),
    ],
)
def test_where_a_stream_is(change: dict[str, Any], state: State) -> None:
    standing = msgspec.structs.replace(LIVE, **change)
    found, words = state_of(standing, halted=False, stopped=False)
    assert found is state and words
    assert state_of(standing, halted=True, stopped=False)[0] is State.HALTED


def test_a_stopped_continuous_job_is_ready_for_another() -> None:
    standing = msgspec.structs.replace(LIVE, by="gate")
    assert state_of(standing, halted=False, stopped=True)[0] is State.READY


def transitions() -> set[tuple[str, str]]:
    """By machine and name, as the standard's file has them."""
    return {
        (MACHINES[parent], one.get("BrowseName", "").partition(":")[2])
        for one in ElementTree.parse(NODESET).getroot()
        if (parent := one.get("ParentNodeId", "")) in MACHINES
    }


def test_every_way_is_one_of_the_standards_and_leads_there() -> None:
    known = transitions()
    for before, after in itertools.permutations(State, 2):
        steps = list(ways(before, after))
        for step in steps:
            assert (step.machine, step.name) in known, step
        assert steps[-1].after in (after.inner or after.outer, *(["Operational"] if after is State.INITIALIZED else []))
        for one, next_ in itertools.pairwise(steps):
            assert one.machine != next_.machine or one.after == next_.before


def test_methods_name_the_step_they_cause() -> None:
    named = [
        (State.READY, State.SINGLE_EXECUTION, "StartSingleJob", "ReadyToSingleExecution"),
        (State.READY, State.CONTINUOUS_EXECUTION, "StartContinuous", "ReadyToContinuousExecution"),
        (State.CONTINUOUS_EXECUTION, State.READY, "Stop", "ContinuousExecutionToReadyStop"),
        (State.CONTINUOUS_EXECUTION, State.READY, "Abort", "ContinuousExecutionToReadyAbort"),
        (State.READY, State.HALTED, "Halt", "OperationalToHalted"),
        (State.HALTED, State.PREOPERATIONAL, "Reset", "HaltedToPreoperational"),
        (State.SINGLE_EXECUTION, State.READY, "", "SingleExecutionToReadyAuto"),
    ]
    for before, after, cause, name in named:
        assert [one.name for one in ways(before, after, cause)] == [name]  # type: ignore[arg-type]


def test_the_standards_file_is_as_it_came_and_has_its_licence() -> None:
    data = NODESET.read_bytes()
    assert hashlib.sha256(data).hexdigest() == SHA256 and b"OPC Foundation MIT License 1.00" in data
