"""Shows the verdict of one stream, and knows when it has none: python live.py ws://HOST:8000 STREAM [ACCESS_CODE]"""

import asyncio
import json
import sys
import time

from websockets import InvalidURI, WebSocketException, connect

HEARTBEAT_S, FRESH_S = 2, 2  # a verdict counts for so long after it ARRIVED, by this machine's clock
by_parts, MEND = False, (1008, 1009, 4001, 4401, 4403)  # after which coming back by itself would change nothing


def show(verdict, why):  # the one place that would switch an output: all but a fresh NORMAL stops the line
    print(*filter(str.isprintable, f"{time.strftime('%H:%M:%S')} {verdict:10} {why}"[:300]), sep="", flush=True)


def hear(message):  # whether it is a fresh verdict; raises whatever it may where it cannot be read
    global by_parts  # whether a frame's verdict is no part's
    kind = message.get("type")
    by_parts = message.get("parts_by", "line") != "line" if kind == "status" else by_parts
    if fresh := kind == ("part" if by_parts else "result") and not message.get("repeated"):  # that may be hours old
        of = f"part {message['part'] or message['number']}" if by_parts else f"score {message['score']:.2f}"
        show(message["verdict"], f"{of}, recipe {message['recipe']}")
    elif kind not in ("result", "part", "status", "change", "heartbeat"):
        show("NO VERDICT" if kind == "error" else "NOTE", message.get("error", f"{kind!r} is not known here: skipped"))
    return fresh


async def listen(address, headers):
    async with connect(address, additional_headers=headers, open_timeout=5) as socket:
        heard_at, verdict_at = time.monotonic(), None
        while time.monotonic() - heard_at < 2.5 * HEARTBEAT_S:
            if verdict_at and time.monotonic() - verdict_at > FRESH_S:
                verdict_at = show("NO VERDICT", f"none for {FRESH_S} s")
            try:
                message, heard_at = await asyncio.wait_for(socket.recv(), 0.2), time.monotonic()
                verdict_at = heard_at if hear(json.loads(message)) else verdict_at
            except (TimeoutError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
                if not isinstance(error, TimeoutError):  # that is nothing for a moment
                    verdict_at = show("NO VERDICT", f"a message cannot be read ({type(error).__name__})")


async def main(server, stream, code=None):
    headers, pause = {"Authorization": f"Bearer {code}"} if code else {}, 1
    while True:
        began, why = time.monotonic(), "no heartbeat"
        try:
            await listen(f"{server}/ws/live/{stream}?heatmap=0&heartbeat={HEARTBEAT_S}", headers)
        except (OSError, WebSocketException) as error:  # refused, no way, a wrong code, closed
            if isinstance(why := error, InvalidURI) or getattr(getattr(error, "rcvd", None), "code", None) in MEND:
                return show("NO VERDICT", why)
        show("NO VERDICT", f"the server is lost ({why}); again in {pause} s")
        await asyncio.sleep(pause)
        pause = min(2 * pause, 30) if time.monotonic() - began < 40 else 1


asyncio.run(main(*sys.argv[1:]))
