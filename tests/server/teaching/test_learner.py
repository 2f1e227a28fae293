"""The process that learns, for real: drawn parts become a model folder; it can be killed at any time."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from detector import load_taught, model_folder
from detector import model_folder as model_folder_files
from detector.images import encode_png
from server.teaching import far_side, words
from server.teaching import learner as near_side
from server.teaching.learner import LearnerGone, LearnerProcess
from server.teaching.words import (
    IsCopy,
    Learn,
    Learned,
    LeaveOut,
    Progress,
    Refused,
    Region,
    Rehearse,
    Show,
    Shown,
    Wanted,
)
from tests.detector.parts import draw_part
from tests.server.fakes import until
from tests.server.teaching.fakes import part

HOW = Wanted("fast", "openvino")


class Heard(list[Progress | Region]):
    """What a process said by itself."""

    @property
    def regions(self) -> list[Region]:
        return [said for said in self if isinstance(said, Region)]

    @property
    def progress(self) -> list[float]:
        return [said.fraction for said in self if isinstance(said, Progress)]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def learner(heard: Heard) -> AsyncIterator[LearnerProcess]:
    learner = LearnerProcess(HOW, heard.append)
    yield learner
    await learner.close()


def write(folder: Path, numbers: range) -> list[Path]:
    paths = [folder / f"{number}.png" for number in numbers]
    for number, path in zip(numbers, paths, strict=True):
        path.write_bytes(encode_png(part(number)))
    return paths


def runs(pid: int) -> bool:
    """Whether there is such a process, and it is not only waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def first_to_go(pid: int | None) -> str:
    """How early a process is ended where memory runs out, of 1000."""
    return Path(f"/proc/{pid}/oom_score_adj").read_text()


async def test_drawn_parts_become_a_model(learner: LearnerProcess, heard: Heard, tmp_path: Path) -> None:
    paths = write(tmp_path, range(8))
    for number, path in enumerate(paths):
        answer = await learner.ask(Show(number, str(path)))
        assert isinstance(answer, Shown) and set(answer.pictures) == set(range(number + 1))
        assert answer.coverage.parts == number + 1 and answer.coverage.sentence
    assert await learner.ask(Show(99, str(paths[3]))) == IsCopy()
    assert isinstance(counted := await learner.ask(Show(99, str(paths[3]), always=True)), Shown)
    assert 99 in counted.pictures
    assert isinstance(left := await learner.ask(LeaveOut(99)), Shown) and 99 not in left.pictures
    assert isinstance(await learner.ask(LeaveOut(12345)), Shown)
    await until(lambda: bool(heard.regions))  # said by itself, beside the answers
    assert all(0 <= value <= 1 for value in heard.regions[-1].box)
    model = tmp_path / "model"
    assert isinstance(await learner.ask(Learn([str(path) for path in paths], str(model), "bracket")), Learned)
    assert heard.progress == sorted(heard.progress) and heard.progress[-1] == 1.0
    taught = await asyncio.to_thread(load_taught, model)
    assert taught.category == "bracket" and taught.manifest.n_images == 8
    defect = part(3)
    defect[30:60, 50:80] = (0, 0, 255)
    assert taught.detect(defect).score > taught.detect(part(3)).score


async def test_what_cannot_be_learned_from_is_refused_in_words_and_it_goes_on(
    learner: LearnerProcess, tmp_path: Path
) -> None:
    same = tmp_path / "same.png"
    same.write_bytes(encode_png(draw_part(1)))
    answer = await learner.ask(Learn([str(same)] * 6, str(tmp_path / "model"), ""))
    assert isinstance(answer, Refused) and "the same picture" in answer.why
    assert not (tmp_path / "model").exists()
    (tmp_path / "text.png").write_text("no picture")
    assert isinstance(missing := await learner.ask(Show(1, str(tmp_path / "gone.png"))), Refused)
    assert "cannot be read" in missing.why
    assert isinstance(await learner.ask(Show(1, str(tmp_path / "text.png"))), Refused)
    assert isinstance(await learner.ask(Show(1, str(same))), Shown)


async def test_killed_while_it_learns_it_says_so(learner: LearnerProcess, heard: Heard, tmp_path: Path) -> None:
    paths = write(tmp_path, range(8))
    learning = asyncio.create_task(learner.ask(Learn([str(path) for path in paths], str(tmp_path / "model"), "")))
    await until(lambda: bool(heard.progress))
    assert learner.pid is not None
    os.kill(learner.pid, signal.SIGKILL)
    with pytest.raises(LearnerGone, match="by signal 9"):
        await learning
    assert not (tmp_path / "model").exists()
    with pytest.raises(LearnerGone):
        await learner.ask(Show(1, str(paths[0])))


async def test_closing_ends_it_whatever_it_does(learner: LearnerProcess, heard: Heard, tmp_path: Path) -> None:
    paths = write(tmp_path, range(8))
    learning = asyncio.create_task(learner.ask(Learn([str(path) for path in paths], str(tmp_path / "model"), "")))
    await until(lambda: bool(heard.progress))
    await learner.close()
    with pytest.raises(LearnerGone, match="the teaching was ended"):
        await learning
    assert learner.pid is not None and not runs(learner.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("is_stopped", [False, True])
async def test_it_ends_with_its_server_however_that_ends(is_stopped: bool) -> None:
    code = (
        "import asyncio, sys\n"
        "from server.teaching.learner import LearnerProcess\n"
        "from server.teaching.words import LeaveOut, Wanted\n"
        "async def main():\n"
        "    learner = LearnerProcess(Wanted('fast', 'openvino'), lambda said: None)\n"
        "    await learner.ask(LeaveOut(1))\n"
        "    print(learner.pid, flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    server = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    assert server.stdout is not None
    pid = int(await server.stdout.readline())
    assert runs(pid) and os.getpriority(os.PRIO_PROCESS, pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
    if is_stopped:
        os.kill(pid, signal.SIGSTOP)
    server.kill()
    await server.wait()
    await until(lambda: not runs(pid))


async def test_stopped_it_is_waited_for_no_longer_than_it_may_be_quiet(learner: LearnerProcess, tmp_path: Path) -> None:
    paths = write(tmp_path, range(8))
    await learner.ask(Show(1, str(paths[0])))
    assert learner.pid is not None
    os.kill(learner.pid, signal.SIGSTOP)
    learner.quiet_s = 0.2
    with pytest.raises(LearnerGone, match=r"no progress for 0\.2 s and was ended: stop other programs"):
        await learner.ask(Learn([str(path) for path in paths], str(tmp_path / "model"), ""))
    assert not runs(learner.pid) and not (tmp_path / "model").exists()


FAR_SIDE = """
import sys, time
sys.stdin.readline()
for number in range({times}):
    print('{{"type": "progress", "fraction": %s}}' % ({fraction}), flush=True)
    time.sleep({pause})
print('{{"type": "learned"}}', flush=True)
"""


@pytest.mark.parametrize(("fraction", "goes_on"), [("number / 100", True), ("0.5", False)])
async def test_only_who_gets_on_is_waited_for(
    fraction: str, goes_on: bool, heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times, pause = (20, 0.1) if goes_on else (100_000, 0.01)
    (tmp_path / "a_far_side.py").write_text(FAR_SIDE.format(fraction=fraction, times=times, pause=pause))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(near_side, "_PROGRAM", "a_far_side")
    learner = LearnerProcess(HOW, heard.append, quiet_s=1.5)  # which is less than 20 times 0.1 s
    try:
        if goes_on:
            assert isinstance(await learner.ask(LeaveOut(1)), Learned) and len(heard) == 20
        else:
            with pytest.raises(LearnerGone, match="no progress"):
                await learner.ask(LeaveOut(1))
    finally:
        await learner.close()


def test_looking_at_pictures_is_a_sign_of_going_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(far_side, "STEP_S", 0.0)
    said: list[words.Said] = []
    pupil = far_side.Pupil(HOW, said.append)
    for number, path in enumerate(write(tmp_path, range(3))):
        pupil.answer(Show(number, str(path)))
    steps = said.count(words.Step())
    pupil.look_for_region()
    assert steps >= 3 and said.count(words.Step()) > steps and isinstance(said[-1], Region)


def test_where_memory_runs_out_it_says_so_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def runs_out(*_: object, **__: object) -> None:
        raise MemoryError

    said: list[words.Said] = []
    pupil = far_side.Pupil(HOW, said.append)
    paths = [str(path) for path in write(tmp_path, range(3))]
    assert isinstance(pupil.answer(Show(1, paths[0])), Shown)
    with monkeypatch.context() as short:
        for name in ("fit", "_region"):
            short.setattr(far_side, name, runs_out)
        pupil.look_for_region()
        learned = pupil.answer(Learn(paths, str(tmp_path / "model"), ""))
        assert isinstance(learned, Refused) and "not enough memory" in learned.why
    pupil.look_for_region()
    assert isinstance(said[-1], Region) and isinstance(pupil.answer(Show(2, paths[1])), Shown)


def test_where_the_disk_takes_nothing_it_says_so(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    model = load_taught(model_folder)
    monkeypatch.setattr(far_side, "fit", lambda *_, **__: model)
    monkeypatch.setattr(model_folder_files, "write_atomically", full)
    pupil = far_side.Pupil(HOW, lambda said: None)
    answer = pupil.answer(Learn([], str(tmp_path / "model"), ""))
    assert isinstance(answer, Refused) and "(No space left on device): make room in the data directory" in answer.why
    assert str(tmp_path) not in answer.why


@pytest.mark.skipif(sys.platform != "linux", reason="as Linux does it")
async def test_it_is_the_first_to_go_where_memory_runs_out(learner: LearnerProcess) -> None:
    await learner.ask(LeaveOut(1))
    assert int(first_to_go(learner.pid)) >= far_side.FIRST_TO_GO


async def test_where_it_cannot_be_started_that_is_said(
    learner: LearnerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(LearnerGone, match="cannot be started"):
        await learner.ask(LeaveOut(1))


async def test_what_was_learned_ahead_is_what_would_be_learned(
    learner: LearnerProcess, heard: Heard, tmp_path: Path
) -> None:
    paths = [str(path) for path in write(tmp_path, range(7))]
    assert isinstance(await learner.ask(Rehearse(paths, "bracket")), Shown)
    assert isinstance(await learner.ask(Show(9, paths[0])), Shown), (
        "it goes on meanwhile, and what is learned is not it"
    )
    assert isinstance(await learner.ask(Learn(paths, str(tmp_path / "afresh"), "bracket")), Learned)
    await learner.ask(Rehearse(paths, "bracket"))
    assert isinstance(await learner.ask(Learn(paths, str(tmp_path / "ahead"), "bracket")), Learned)
    afresh, ahead = [model_folder.read(tmp_path / name)[0] for name in ("afresh", "ahead")]
    assert afresh.tensors_sha256 == ahead.tensors_sha256 and ahead.category == "bracket"
    await learner.ask(Rehearse(paths[:1] * 6, ""))
    assert isinstance(await learner.ask(Learn(paths[:1] * 6, str(tmp_path / "same"), "")), Refused)
