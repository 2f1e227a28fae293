"""The machine of :mod:`tests.server.parts.controller` without Hypothesis, which costs fifty times what is tested.

    python -m tests.server.parts.walks 100000 [FIRST SEED]

A walk that fails names its seed; ``walk(Interleavings(), SEED)`` takes it again.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable

from server.parts import ACK_WITHIN_S
from tests.server.parts.controller import Interleavings

STEPS = 60


def walk(machine: Interleavings, seed: int, steps: int = STEPS) -> None:
    """So many steps of a controller, its line and its server, by chance; what must hold is looked at after each."""
    chance = random.Random(seed)

    def signals() -> None:
        enable, trigger, ack = chance.random() < 0.8, chance.random() < 0.5, chance.random() < 0.5
        machine.signals_change(enable=enable, trigger=trigger, ack=ack, trigger_id=chance.randrange(4))

    def verdict() -> None:
        if machine.stream_busy is not None:
            machine.the_stream_has_its_verdict()

    steps_there_are: list[tuple[Callable[[], object], int]] = [
        (signals, 4),
        (machine.look, 4),
        (machine.enable_rises, 2),
        (lambda: machine.a_whole_pulse_of_trigger(trigger_id=chance.randrange(10)), 4),
        (machine.a_whole_pulse_of_ack, 3),
        (verdict, 5),
        (machine.a_part_that_nobody_triggered, 2),
        (machine.more_parts_than_can_wait, 1),
        (machine.a_part_that_another_triggered, 1),
        (lambda: machine.time_passes(seconds=chance.choice([0.01, 0.01, 1.0, ACK_WITHIN_S])), 2),
        (machine.the_server_restarts, 1),
        *machine.more_steps(),
    ]
    does, weights = zip(*steps_there_are, strict=True)
    for step in chance.choices(does, weights, k=steps):
        step()
        machine.no_trigger_is_lost()
        machine.counts_add_up()


def walks(make: Callable[[], Interleavings], count: int, first: int = 0) -> None:
    """Take so many, and say which failed."""
    for seed in range(first, first + count):
        try:
            walk(make(), seed)
        except AssertionError as error:
            raise AssertionError(f"the walk of seed {seed}: {error}") from error


def main() -> None:
    count, first = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    began = time.process_time()
    walks(Interleavings, count, first)
    print(f"{count} walks of {STEPS} steps from seed {first}: nothing wrong, {time.process_time() - began:.0f} s")


if __name__ == "__main__":
    main()
