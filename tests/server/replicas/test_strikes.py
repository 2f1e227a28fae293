"""Senders whose pictures end replicas."""

from __future__ import annotations

from server.replicas.strikes import FIRST_S, FORGOTTEN_S, FREE_STRIKES, LONGEST_S, MAX_SENDERS, Strikes


def test_replicas_die_by_themselves_too() -> None:
    strikes = Strikes()
    for _ in range(FREE_STRIKES):
        strikes.strike("a", 0.0)
    assert strikes.wait("a", 0.0) == 0.0


def test_each_more_makes_the_wait_twice_as_long_up_to_the_longest() -> None:
    strikes, waits = Strikes(), list[float]()
    for _ in range(FREE_STRIKES + 40):
        strikes.strike("a", 100.0)
        waits.append(strikes.wait("a", 100.0))
    assert waits[FREE_STRIKES : FREE_STRIKES + 3] == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S]
    assert waits[-1] == LONGEST_S and strikes.wait("b", 100.0) == 0.0
    assert strikes.wait("a", 100.0 + LONGEST_S) == 0.0


def test_it_is_forgotten_after_a_while() -> None:
    strikes = Strikes()
    for _ in range(10):
        strikes.strike("a", 0.0)
    strikes.strike("a", FORGOTTEN_S)
    assert strikes.wait("a", FORGOTTEN_S) == 0.0


def test_senders_under_ever_new_names_take_no_memory() -> None:
    strikes = Strikes()
    for number in range(10 * MAX_SENDERS):
        strikes.strike(f"a{number}", 0.0)
    assert len(strikes._records) == MAX_SENDERS


def test_what_is_taken_back_counts_no_more() -> None:
    strikes = Strikes()
    for _ in range(FREE_STRIKES + 1):
        strikes.strike("a", 0.0)
    strikes.take_back("a")
    strikes.take_back("b")
    assert strikes.wait("a", 0.0) == 0.0 and strikes.count("a") == FREE_STRIKES and strikes.count("b") == 0
