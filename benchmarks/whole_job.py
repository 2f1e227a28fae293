"""The whole job on a running server: taught as a stream, calibrated, corrected, undone; and what each did to AUROC.

    python -m benchmarks.whole_job ../shared/data/bottle [--pictures 209] [--page]

Starts the real command. FOLDER (laid out as MVTec AD's) is played as a camera over WebSocket: each training picture
lies still until it was taken or the server said why not. After *Done* the test pictures go through the same stream, and
their AUROC is set against that of a model taught offline on the same files. Then one false reject is forgiven (at a
threshold just below the highest good part, where the default one rejects none), one escape is remembered (at one above
the lowest defects), and both are undone.

With ``--page`` an operator does it in a real Chromium, whose camera sees the pictures: what is captured, encoded and
sent is the page's, and so is all that is pressed. Besides, the threshold is calibrated on further good pictures, and
the test pictures are shown once more as video over WebRTC.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import websockets

from benchmarks import page_job
from benchmarks.job_pictures import JobPictures, job_pictures
from benchmarks.job_rows import escape_of, forgiven_row, raw_scores, remembered_row, undone_row
from tests.running import command, free_port
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

    async def teach(self, pictures: Sequence[Path]) -> tuple[str, int, float]:
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

    async def score(self, pictures: Sequence[Path]) -> list[dict[str, Any]]:
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
        return dict(done) | {"ms": 1000 * (time.perf_counter() - began)}

    async def by_hand(self, recipe: str, raw: float) -> None:
        """Set the threshold."""
        version = (await self.ask("GET", f"/api/recipes/{recipe}"))["version"]
        await self.ask("PATCH", f"/api/recipes/{recipe}", json={"version": version, "rule": {"raw": raw}})


async def whole(port: int, pictures: JobPictures) -> list[list[str]]:
    rows = []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=600, trust_env=False) as client:
        job = Job(port, client)
        recipe, parts, seconds = await job.teach(pictures.train)
        results = await job.score(pictures.tested)
        first, goods = raw_scores(results), len(pictures.goods)
        taught = f"{parts} of {len(pictures.train)} pictures taken, Done to live {seconds:.1f} s"
        rows.append(["taught as a stream", taught, f"{pictures.auroc(first):.4f}"])
        rows.append(["taught offline on the same files", "", f"{pictures.offline():.4f}"])

        highest = int(first[:goods].argmax())
        threshold = float(results[0]["threshold"])
        if first[highest] <= threshold:
            threshold = float(0.999 * first[highest])
            await job.by_hand(recipe, threshold)
        done = await job.correct(pictures.tested[highest], "good")
        after = raw_scores(await job.score(pictures.tested))
        told = f"{done['cost']['sentence']}; {{}}; {done['ms']:.0f} ms"
        rows.append(forgiven_row(pictures, first, after, highest, threshold, told))

        escape, threshold = escape_of(first, goods)
        await job.by_hand(recipe, threshold)
        done = await job.correct(pictures.tested[escape], "bad")
        found = raw_scores(await job.score(pictures.tested))
        rows.append(remembered_row(pictures, after, found, escape, threshold, f"{{}}; {done['ms']:.0f} ms"))

        for one in (await job.ask("GET", f"/api/recipes/{recipe}/corrections"))["corrections"]:
            version = (await job.ask("GET", f"/api/recipes/{recipe}"))["version"]
            await job.ask("DELETE", f"/api/recipes/{recipe}/corrections/{one['id']}", params={"version": version})
        undone = raw_scores(await job.score(pictures.tested))
        rows.append(undone_row(pictures, first, undone))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=1000, help="training pictures shown, at the most")
    parser.add_argument("--page", action="store_true", help="by an operator in a browser, instead of a client")
    chosen = parser.parse_args()
    pictures = job_pictures(chosen.folder, chosen.pictures)
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        settings = {"DATA_DIR": str(Path(folder) / "data"), "MAX_FRAME_AGE_MS": "60000"}
        with command(
            port, settings, Path(folder), module="tests.page.loopback_server" if chosen.page else "server.cli"
        ):
            rows = page_job.whole(port, pictures) if chosen.page else asyncio.run(whole(port, pictures))
    print(table(["step", "", "image AUROC"], rows))


if __name__ == "__main__":
    main()
