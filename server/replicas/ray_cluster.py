"""Replicas as Ray actors. The only module that knows Ray; it is imported once it is asked for."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import socket
import traceback
from collections.abc import Callable, Collection
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from detector.extras import to_install
from server.ground import private_file
from server.replicas.choice import ReplicasWanted
from server.replicas.cluster import Gone, NoCluster
from server.replicas.packed_model import Packed
from server.replicas.replica import Answer, Hello, Replica, Request

T = TypeVar("T")

log = logging.getLogger("defectvision.replicas")

STORE_BYTES = 256_000_000
"""Of shared memory, where the cluster is one of our own on this machine: for what models learned, a few MB each."""
INLINE_BYTES = 2_000_000
"""Up to which a frame travels with its call, and not through shared memory and a second message: at 250 kB that took
4.3 ms there and back, and 2.6 so."""
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # it reports how it is used, unless it is told not to
    "RAY_ENABLE_RECORD_ACTOR_TASK_LOGGING": "0",
    # It would put its own handler before ours, and at SIGTERM give the process 3 s before it aborts it.
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",
    # Whatever is asked of it while it is not connected, as we stop or reach a cluster anew, would start a cluster of
    # its own, one that listens on the network and asks for no secret.
    "RAY_ENABLE_AUTO_CONNECT": "0",
}
REACH_S = 3.0
"""Seconds within which the cluster's head has to answer."""
PATIENT = {"RAY_gcs_rpc_server_reconnect_timeout_s": "1000000"}
"""For the gateway, and what it starts itself: Ray would end its process a minute after it lost the cluster's head. We
notice, and reach the cluster anew."""
ALONE = {
    # Ray's name for it. It takes this machine for one of a cluster, and its network address for its own, unless told
    # that there is none; then all its ports listen on 127.0.0.1 alone. `_node_ip_address` does not do it: Ray makes the
    # network's address of 127.0.0.1.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
"""For a cluster of our own, on this machine."""

CONFIG = {"max_direct_call_object_size": INLINE_BYTES, "prestart_worker_first_driver": False}
"""Of a cluster of our own: no processes are started for tasks that never come."""


class RayCluster:
    """A Ray cluster of which this process is a driver, on one of its machines: frames go from here to the replica's
    process and back over one connection. Never Ray's client (``ray://``), which would put a server between.

    Args:
        address: of the cluster; ``auto``: the one that runs on this machine; empty: one of our own is started here.
        folder: where the secret of a cluster of our own lies.
        wanted: what each replica may use.
    """

    def __init__(self, address: str, folder: Path, wanted: ReplicasWanted) -> None:
        self._address, self._folder, self._wanted = address, folder, wanted
        self._ray: Any = None
        self._actor: Any = None

    def connect(self) -> None:
        """Raises NoCluster: Ray is not installed, or no cluster answers there."""
        # Before Ray is imported, which reads them then.
        os.environ.update(SETTINGS | PATIENT)
        if self._address:
            _reach(self._address)
        else:
            try:
                prepare_own(self._folder)
            except OSError as error:
                raise NoCluster(
                    f"the secret of the cluster cannot be kept in {self._folder} ({error.strerror or error}): see to "
                    "that folder"
                ) from error
        ray = _imported()
        _quieten(ray)
        try:
            ray.shutdown()  # what is left of one that failed
            if self._address:
                ray.init(address=self._address, log_to_driver=False, configure_logging=False)
            else:
                os.environ.pop("RAY_ADDRESS", None)  # Ray would read it, too
                _start_no_dashboard(ray)
                ray.init(
                    address="local",
                    include_dashboard=False,
                    log_to_driver=False,
                    configure_logging=False,
                    object_store_memory=STORE_BYTES,
                    _node_ip_address="127.0.0.1",
                    _system_config=CONFIG,
                )
        except Exception as error:  # Ray raises whatever it comes upon
            _end_started(error)
            where = self._address or "this machine"
            raise NoCluster(f"no Ray cluster at {where}: {_words(error)}") from error
        self._ray = ray
        self._actor = _actor(ray, self._wanted)

    def start(self) -> RayPeer:
        return RayPeer(self._ray, self._actor.remote(_threads(self._wanted)))

    def share(self, base: bytes) -> Any:
        return [self._ray.put(base)]  # in a list, Ray hands over the reference and fetches nothing

    def check(self) -> None:
        _reach(self._ray.get_runtime_context().gcs_address)

    def close(self) -> None:
        if self._ray is not None:
            with contextlib.suppress(Exception):
                self._ray.shutdown()


def prepare_own(folder: Path) -> None:
    """Before Ray is imported: a cluster of our own listens on this machine alone, and asks for a secret that only this
    user can read. Whoever reaches a cluster's ports can run anything on it.

    Args:
        folder: where the secret lies; made if it is not there.
    """
    os.environ.update(SETTINGS | ALONE)
    if "RAY_AUTH_MODE" in os.environ:
        return
    path = folder / "auth_token"
    if not path.is_file() or not path.read_bytes().strip():
        private_file.make_folder(folder)
        private_file.write(path, secrets.token_hex(32).encode())
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(path.absolute())


def cluster_looked_at(address: str) -> str:
    """How Ray and its cluster do, one sentence; nothing is started or joined.

    Args:
        address: of the cluster, as of :class:`RayCluster`.

    Raises:
        NoCluster: Ray is not installed, or no cluster is there; one sentence says what to do.
    """
    os.environ.update(SETTINGS)
    ray = _imported()
    if not address:
        return f"Ray {ray.__version__}; the server starts a cluster of its own"
    where = _running_here() if address == "auto" else address
    _reach(where)
    return f"Ray {ray.__version__}; something answers at {where}"


def _imported() -> Any:
    """Raises NoCluster: Ray is not installed, or not whole."""
    try:
        import ray
    except ModuleNotFoundError as error:
        raise NoCluster(f"POOL=ray needs Ray: {to_install('ray')}") from error
    except Exception as error:  # what is installed is not whole
        raise NoCluster(f"Ray cannot be imported ({_words(error)}): install it anew") from error
    return ray


def _running_here() -> str:
    """Where ``auto`` leads, by Ray's own search. Raises NoCluster: nowhere."""
    from ray._private import services

    try:
        return str(services.get_ray_address_from_environment("auto", None))
    except ConnectionError as error:
        raise NoCluster(
            "no Ray cluster runs on this machine, where RAY_ADDRESS=auto looks for one: start it (ray start), or leave "
            "RAY_ADDRESS empty, and the server starts its own"
        ) from error


def _reach(address: str) -> None:
    """Ray tries for long, and says little, where nobody listens.

    Raises:
        NoCluster: nobody does.
    """
    host, colon, port = address.rpartition(":")
    if not colon:
        return  # `auto`
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_S).close()
    except OSError as error:
        raise NoCluster(
            f"no Ray cluster at {address}: nobody answers there ({error.strerror or error}); start Ray there, and see "
            "whether this machine reaches it"
        ) from error


def _end_started(error: BaseException) -> None:
    """End the processes of a cluster of our own that did not come up: Ray knows nothing of them any more, and leaves
    some 300 MB of them behind with each attempt. Only what started them does, which failed half made."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        end = getattr(frame.f_locals.get("self"), "kill_all_processes", None)
        if end is not None:
            with contextlib.suppress(Exception):
                end(check_alive=False, allow_graceful=False)


def _quieten(ray: Any) -> None:
    """What it prints by itself is not one line an event, whole logs of its processes where one does not start; what
    becomes of cluster and replicas is in our log."""
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    ray._private.worker._worker_logs_enabled = False


def _start_no_dashboard(ray: Any) -> None:
    """Without a dashboard Ray starts its process all the same, for usage statistics alone; that one asks the network in
    which cloud it is (169.254.169.254, metadata.google.internal) before it looks whether they are switched off."""
    ray._private.services.start_api_server = lambda *given, **named: (None, None)


def _threads(wanted: ReplicasWanted) -> int:
    return max(1, round(wanted.cpus))


def _actor(ray: Any, wanted: ReplicasWanted) -> Any:
    """The class of our replicas, with what each may use; one that dies is not started again by Ray, but by us."""

    class OnRay:
        def __init__(self, threads: int) -> None:
            self._replica = Replica(threads)

        @ray.method(concurrency_group="beat")  # type: ignore[untyped-decorator]
        def hello(self) -> Hello:
            return self._replica.hello()

        @ray.method(concurrency_group="load")  # type: ignore[untyped-decorator]
        def load(self, packed: Packed, base: Any) -> str:
            return self._replica.load(packed, lambda: bytes(ray.get(base[0])))

        @ray.method(concurrency_group="look")  # type: ignore[untyped-decorator]
        def look(self, request: Request) -> Answer:
            return self._replica.look(request)

        @ray.method(concurrency_group="beat")  # type: ignore[untyped-decorator]
        def beat(self, wanted: Collection[str]) -> tuple[str, ...]:
            return self._replica.beat(wanted)

    return ray.remote(
        num_cpus=wanted.cpus,
        num_gpus=wanted.gpus,
        max_restarts=0,
        max_task_retries=0,
        scheduling_strategy="SPREAD",
        concurrency_groups={"look": 1, "load": 1, "beat": 1},
        enable_task_events=False,
    )(OnRay)


class RayPeer:
    """One actor."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray, self._actor = ray, actor

    def hello(self) -> Future[Hello]:
        return self._of(self._actor.hello.remote)

    def load(self, packed: Packed, base: Any) -> Future[str]:
        return self._of(self._actor.load.remote, packed, base)

    def look(self, request: Request) -> Future[Answer]:
        return self._of(self._actor.look.remote, request)

    def beat(self, wanted: Collection[str]) -> Future[tuple[str, ...]]:
        return self._of(self._actor.beat.remote, tuple(wanted))

    def end(self) -> None:
        with contextlib.suppress(Exception):
            self._ray.kill(self._actor)

    def _of(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        answer: Future[Any] = Future()
        gone = self._ray.exceptions.RayError, ConnectionError

        def told(found: Future[Any]) -> None:
            error = found.exception()
            if answer.done():
                return
            with contextlib.suppress(Exception):  # somebody else gave it up at this very moment
                if error is None:
                    answer.set_result(found.result())
                elif isinstance(error, self._ray.exceptions.RayTaskError):
                    answer.set_exception(error.cause if isinstance(error.cause, Exception) else error)
                elif isinstance(error, gone):
                    answer.set_exception(Gone(_words(error)))
                else:
                    answer.set_exception(error)

        try:
            call(*arguments).future().add_done_callback(told)
        except Exception as error:  # the way there is gone, or shared memory is full
            answer.set_exception(Gone(_words(error)))
        return answer


_NAMES = re.compile(r"(class_name|actor_id|pid|name|namespace|ip): ")
"""Lines in which Ray says which actor died, between that it did and why."""
_MOST_WORDS = 300


def _words(error: BaseException) -> str:
    """What Ray has to say of an error, in one line; its last word where it quotes what was raised on the other side."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not _NAMES.match(line)]
    if not told:
        return type(error).__name__
    if "creation task" in told[0]:
        return f"a replica cannot start there: {told[-1]}"[:_MOST_WORDS]
    if told[0].startswith("Version mismatch"):
        return f"{' '.join(told)[:_MOST_WORDS]}: install the same versions of Python and Ray on all machines"
    if told[0].startswith("Failed to connect to Ray cluster"):
        return (
            "something answers there, and does not let this machine in: see whether it is Ray's first machine, and "
            "whether RAY_AUTH_MODE and RAY_AUTH_TOKEN_PATH are those of the cluster"
        )
    return " ".join(told[:2])[:_MOST_WORDS]
