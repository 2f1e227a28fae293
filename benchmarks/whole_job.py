"""The whole job on a running server: taught as a stream, calibrated, corrected, undone; and what each did to AUROC.

    python -m benchmarks.whole_job ../shared/data/bottle [--pictures 209]

Starts the real command. FOLDER (laid out as MVTec AD's) is played as a camera over WebSocket: each training picture
lies still until it was taken or the server said why not. After *Done* the test pictures go through the same stream, and
their AUROC is set against that of a model taught offline on the same files. Then one false reject is forgiven (at a
threshold just below the highest good part, where the default one rejects none), one escape is remembered (at one above
the lowest defects), and both are undone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import websockets

import detector
from detector.images import decode
from tests.running import command, free_port
from training.measure.metrics import auroc
from training.reports.markdown import table

STREAM = "camera"
FRAMES_PER_SECOND = 8
PATIENCE_S = 20.0


@dataclass
class Camera:
    """Sends one picture again and again, until it shows another.

    Attributes:
        results: of the frames sent so far.
    """

    connection: websockets.ClientConnection
    results: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)
    picture: bytes = b""

    async def send(self) -> None:
        while True:
            if self.picture:
                await self.connection.send(self.picture)
            await asyncio.sleep(1 / FRAMES_PER_SECOND)

    async def hear(self) -> None:
        async for text in self.connection:
            message = json.loads(text)
            if message["type"] in ("result", "error"):
                self.results.put_nowait(message)


@contextlib.asynccontextmanager
async def camera(port: int) -> AsyncIterator[Camera]:
    async with websockets.connect(f"ws://127.0.0.1:{port}/ws/stream?name={STREAM}", compression=None) as connection:
        found = Camera(connection)
        tasks = [asyncio.create_task(found.send()), asyncio.create_task(found.hear())]
        try:
            yield found
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(frozen=True)
class Job:
    """A running server and its client."""

    port: int
    client: httpx.AsyncClient

    async def ask(self, method: str, path: str, **options: Any) -> Any:
        answer = await self.client.request(method, path, **options)
        if answer.is_error:
            raise SystemExit(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()

    async def teach(self, pictures: list[Path]) -> tuple[str, int, float]:
        """Show them; id of the recipe, parts that were taken, and seconds from Done to live."""
        async with camera(self.port) as shown:
            shown.picture = pictures[0].read_bytes()
            await asyncio.sleep(1)
            begun = await self.ask("POST", "/api/teaching", json={"name": "whole job", "stream": STREAM})
            path = f"/api/teaching/{begun['id']}"
            for number, picture in enumerate(pictures):
                shown.picture = picture.read_bytes()
                await self._taken(path, number)
            body = await self.ask("GET", path)
            parts = len(body["pictures"])
            for one in body["pictures"]:
                if one["outlier"]:  # all of them are known to be good
                    await self.ask("POST", f"{path}/pictures/{one['number']}", json={"keep": True})
            print(f"shown: {body['coverage']['sentence']}", flush=True)
            began = time.perf_counter()
            body = await self.ask("POST", f"{path}/done")
            while body["state"] == "learning":
                await asyncio.sleep(0.05)
                body = await self.ask("GET", path)
            if body["state"] != "done":
                raise SystemExit(f"teaching failed: {body['error']}")
            return body["recipe"], parts, time.perf_counter() - began

    async def _taken(self, path: str, number: int) -> None:
        end = time.perf_counter() + PATIENCE_S
        while time.perf_counter() < end:
            body = await self.ask("GET", path)
            if len(body["pictures"]) > number:
                return
            await asyncio.sleep(0.05)
        body = (await self.ask("POST", f"{path}/take"))["last"]
        print(f"picture {number} was not taken by itself; by a press: {body}", flush=True)

    async def score(self, pictures: list[Path]) -> list[dict[str, Any]]:
        """Results of pictures, each sent once and waited for."""
        found = []
        url = f"ws://127.0.0.1:{self.port}/ws/stream?name={STREAM}"
        async with websockets.connect(url, compression=None) as connection:
            for picture in pictures:
                await connection.send(picture.read_bytes())
                message = json.loads(await connection.recv())
                if message["type"] != "result":
                    raise SystemExit(f"{picture}: {message}")
                found.append(message)
        return found

    async def kept(self, kind: str) -> dict[str, Any]:
        """The newest kept frame."""
        return dict((await self.ask("GET", f"/api/streams/{STREAM}/frames", params={"kind": kind}))["frames"][0])

    async def correct(self, picture: Path, kind: str) -> dict[str, Any]:
        """Say of a picture, which is sent once more, that it is good or bad; what was done, and how long it took."""
        await asyncio.sleep(0.6)  # of the latest frames one is kept twice a second
        (result,) = await self.score([picture])
        frame = await self.kept("alarm" if result["verdict"] == "ANOMALY" else "recent")
        told = await self.ask("POST", f"/api/frames/{frame['id']}/{kind}", json={"dry_run": True})
        began = time.perf_counter()
        done = await self.ask("POST", f"/api/frames/{frame['id']}/{kind}", json={"version": told["version"]})
        return done | {"ms": 1000 * (time.perf_counter() - began)}

    async def by_hand(self, recipe: str, raw: float) -> None:
        """Set the threshold."""
        version = (await self.ask("GET", f"/api/recipes/{recipe}"))["version"]
        await self.ask("PATCH", f"/api/recipes/{recipe}", json={"version": version, "rule": {"raw": raw}})


def raw_scores(results: list[dict[str, Any]]) -> np.ndarray[Any, Any]:
    return np.array([result["raw_score"] for result in results])


async def whole(port: int, folder: Path, count: int) -> list[list[str]]:
    train = sorted((folder / "train" / "good").iterdir())[:count]
    goods = sorted((folder / "test" / "good").iterdir())
    defects = [
        path for kind in sorted((folder / "test").iterdir()) if kind.name != "good" for path in sorted(kind.iterdir())
    ]
    labels = np.array([False] * len(goods) + [True] * len(defects))
    rows = []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=600, trust_env=False) as client:
        job = Job(port, client)
        recipe, parts, seconds = await job.teach(train)
        results = await job.score([*goods, *defects])
        first = raw_scores(results)
        live = auroc(first, labels) or 0.0
        model = detector.fit([decode(path.read_bytes()) for path in train])
        offline = auroc(
            np.array([model.detect(decode(path.read_bytes())).score for path in (*goods, *defects)]), labels
        )
        rows.append(
            [
                "taught as a stream",
                f"{parts} of {len(train)} pictures taken, Done to live {seconds:.1f} s",
                f"{live:.4f}",
            ]
        )
        rows.append(["taught offline on the same files", "", f"{offline or 0:.4f}"])

        highest = int(first[: len(goods)].argmax())
        threshold = float(results[0]["threshold"])
        if first[highest] <= threshold:
            threshold = float(0.999 * first[highest])
            await job.by_hand(recipe, threshold)
        done = await job.correct(goods[highest], "good")
        after = raw_scores(await job.score([*goods, *defects]))
        rest = np.arange(len(labels)) != highest
        moved = f"{first[highest]:.2f} → {after[highest]:.2f}, threshold {threshold:.2f}; {done['ms']:.0f} ms"
        forgiven = f"{done['cost']['sentence']}; {moved}"
        change = (auroc(after[rest], labels[rest]) or 0) - (auroc(first[rest], labels[rest]) or 0)
        rows.append(
            ["one false reject forgiven", forgiven, f"{auroc(after, labels) or 0:.4f} (the others {change:+.4f})"]
        )

        bad = first[len(goods) :]
        threshold = float(np.sort(bad)[max(2, len(bad) // 4)])
        await job.by_hand(recipe, threshold)
        escape = len(goods) + int(bad.argmin())
        kind = defects[escape - len(goods)].parent.name
        done = await job.correct(defects[escape - len(goods)], "bad")
        found = raw_scores(await job.score([*goods, *defects]))
        same = np.array([False] * len(goods) + [path.parent.name == kind for path in defects])
        same[escape] = False
        others = same & (after <= threshold)
        rejected = [int((scores[: len(goods)] > threshold).sum()) for scores in (after, found)]
        counts = (
            f"of {int(others.sum())} other escapes of {kind}, {int((others & (found > threshold)).sum())} are found; "
            f"{after[escape]:.2f} → {found[escape]:.2f}, threshold {threshold:.2f}; "
            f"good parts rejected {rejected[0]} → {rejected[1]}; {done['ms']:.0f} ms"
        )
        rows.append(["one escape remembered", counts, f"{auroc(found, labels) or 0:.4f}"])

        for one in (await job.ask("GET", f"/api/recipes/{recipe}/corrections"))["corrections"]:
            version = (await job.ask("GET", f"/api/recipes/{recipe}"))["version"]
            await job.ask("DELETE", f"/api/recipes/{recipe}/corrections/{one['id']}", params={"version": version})
        undone = raw_scores(await job.score([*goods, *defects]))
        same_bits = bool(np.array_equal(undone, first))
        rows.append(
            [
                "both undone",
                f"scores bit for bit as before: {'yes' if same_bits else 'NO'}",
                f"{auroc(undone, labels) or 0:.4f}",
            ]
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=1000, help="training pictures shown, at the most")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        with command(port, {"DATA_DIR": str(Path(folder) / "data"), "MAX_FRAME_AGE_MS": "60000"}, Path(folder)):
            rows = asyncio.run(whole(port, chosen.folder, chosen.pictures))
    print(table(["step", "", "image AUROC"], rows))


if __name__ == "__main__":
    main()
