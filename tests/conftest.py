"""``--quick``: what can be told without extras, services and a browser, in under three minutes (``make quick``)."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

from server.logs import QUIETER

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
"""Of torch's threads, before it is imported: while others of these processes use the cores, threads that wait for work
by going round and round take three times the processor's time that the work does."""

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")  # how busy the machine is says nothing of the code
settings.register_profile("quick", settings.get_profile("busy"), max_examples=20)

EXTRAS = ("torch", "torchvision", "timm", "nncf", "anomalib", "ray")
"""Left out of a quick run also where they are installed: importing one takes longer than the tests that need it."""

LEFT_OUT = {
    "browser": ("tests/page/",),
    "service": (
        "tests/proxies/",
        "tests/server/ingest/webrtc/test_gstreamer.py",
        "tests/server/cameras/test_camera_network.py",
        "tests/server/sinks/mqtt/test_broker.py",
        "tests/server/sinks/mqtt/test_commands.py",
        "tests/server/sinks/mqtt/test_home_assistant.py",
        "tests/server/sinks/mqtt/test_sink.py",
        "tests/server/sinks/mqtt/sparkplug/test_sink.py",
    ),
    "slow": (
        "tests/fuzz/",
        "tests/detector/light/",
        "tests/detector/anomalib/",
        "tests/detector/backbones/test_timm_backbone.py",
        "tests/detector/runtimes/test_precision.py",
        "tests/detector/test_self_contained.py",
        "tests/server/cameras/test_film.py",
        "tests/server/https/",
        "tests/server/teaching/test_end_to_end.py",
        "tests/server/teaching/test_learner.py",
        "tests/server/ingest/webrtc/test_video_decoder.py",
        "tests/server/replicas/test_nodes.py",
        "tests/server/replicas/test_own_cluster.py",
        "tests/server/simulated_line/",
        "tests/server/ingest/webrtc/test_offers.py",
        "tests/server/ingest/webrtc/test_webrtc.py",
        "tests/server/web/test_wrong_bytes.py",
        "tests/server/test_network.py",
        "tests/server/test_serve.py",
        "tests/server/test_calamities.py",
        "tests/server/test_safe_mode.py",
        "tests/test_killed.py",
        "tests/server/plant/",
        "tests/server/records/test_away.py",
        "tests/server/camera_process/",
        "tests/training/anomalib/",
        "tests/training/commands/",
        "tests/training/compare/",
        "tests/training/measure/",
        "tests/training/test_export.py",
        "tests/training/test_benchmark.py",
    ),
}
"""What a whole folder or module of tests needs."""

LONGEST = (
    "tests/page/test_first_start.py",  # first of all: it needs the simulated line before it is taught
    "tests/page/test_whole_job.py",
    "tests/page/test_page_axe.py",
    "tests/detector/backbones/test_timm_backbone.py",
    "tests/page/test_page_firefox.py",
    "tests/page/test_page_calibration.py",
    "tests/page/test_page_states.py",
    "tests/page/test_page_transport.py",
    "tests/page/test_page_live.py",
    "tests/page/test_page_layout.py",
    "tests/page/test_page_roles.py",
    "tests/proxies/test_proxies.py",
    "tests/server/test_serve.py",
    "tests/server/teaching/test_learner.py",
    "tests/server/simulated_line/test_simulated_line.py",
    "tests/server/test_safe_mode.py",
    "tests/test_killed.py",
    "tests/server/plant/test_kills.py",
    "tests/training/anomalib/test_anomalib_models.py",
    "tests/detector/anomalib/test_anomalib_export.py",
    "tests/training/compare/test_compare.py",
    "tests/training/test_export.py",
)
"""Side by side, these modules are begun first: one that takes a minute and is begun last is waited for by all. Those
that follow in the order of the folders take seconds. A module that is not in here is late, and nothing else."""

LOGGERS = ("defectvision", *QUIETER)


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """A command that a test ran in this process has set up the logs to its standard error, which is closed by now: what
    the next test's threads log would be a page of *I/O operation on closed file*."""
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in (None, *LOGGERS)}
    handlers = root.handlers[:]
    yield
    root.handlers[:] = [kept for kept in root.handlers if kept in handlers or type(kept) is not logging.StreamHandler]
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


class _NotInstalled(MetaPathFinder):
    """Finds that no extra is installed. (An entry of None in ``sys.modules`` would do, but for scipy, which looks.)"""

    def find_spec(self, fullname: str, path: object, target: ModuleType | None = None) -> None:
        if fullname.partition(".")[0] in EXTRAS:
            raise ModuleNotFoundError(f"{fullname} is an extra: left out of a quick run", name=fullname)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="leave out extras, services, the browser and slow tests")


def pytest_configure(config: pytest.Config) -> None:
    for name, what in {
        "browser": "needs a browser",
        "service": "starts a program that is not ours: an RTSP server, GStreamer, nginx, Caddy, mosquitto, Firefox",
        "slow": "takes more than a few seconds",
    }.items():
        config.addinivalue_line("markers", f"{name}: {what}; not part of --quick")
    if config.getoption("--quick"):
        sys.meta_path.insert(0, _NotInstalled())
        settings.load_profile("quick")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A quick run does not even read what it leaves out."""
    if not config.getoption("--quick"):
        return None
    path = collection_path.relative_to(config.rootpath).as_posix() + "/" * collection_path.is_dir()
    return path.startswith(tuple(place for places in LEFT_OUT.values() for place in places)) or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        path = item.path.relative_to(config.rootpath).as_posix()
        for mark, places in LEFT_OUT.items():
            if path.startswith(places):
                item.add_marker(mark)
    if hasattr(config, "workerinput"):  # one of the processes of pytest-xdist
        items.sort(key=lambda item: _turn(item.path.relative_to(config.rootpath).as_posix()))
    if not config.getoption("--quick"):
        return
    left_out = [item for item in items if any(map(item.get_closest_marker, ("browser", "service", "slow")))]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


def pytest_collection_finish() -> None:
    """All that is there now stays until the end: the garbage collector need not look through it again and again."""
    gc.collect()
    gc.freeze()


def _turn(path: str) -> int:
    return LONGEST.index(path) if path in LONGEST else len(LONGEST)
