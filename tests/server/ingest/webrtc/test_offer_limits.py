"""How many offers are answered, without waiting for a clock."""

from __future__ import annotations

from server.ingest.webrtc.offer_limits import ADDRESS_BURST, ADDRESS_PER_S, BURST, MAX_ADDRESSES, PER_S, OfferLimits


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def admitted(limits: OfferLimits, address: str, tries: int) -> int:
    return sum(limits.wait_s(address) == 0 for _ in range(tries))


def test_one_address_gets_its_share_and_others_theirs() -> None:
    clock = Clock()
    limits = OfferLimits(clock)
    assert admitted(limits, "10.0.0.1", 100) == ADDRESS_BURST
    assert admitted(limits, "10.0.0.2", 100) == ADDRESS_BURST
    assert 0 < limits.wait_s("10.0.0.1") <= 1 / ADDRESS_PER_S
    clock.now += limits.wait_s("10.0.0.1")
    assert limits.wait_s("10.0.0.1") == 0


def test_all_addresses_together_are_bounded() -> None:
    clock = Clock()
    limits = OfferLimits(clock)
    assert sum(admitted(limits, f"10.0.{n}.1", 5) for n in range(200)) == BURST
    clock.now += 1
    assert sum(admitted(limits, f"10.0.{n}.1", 5) for n in range(200)) == PER_S


def test_addresses_are_not_remembered_for_ever() -> None:
    limits = OfferLimits(Clock())
    for n in range(10 * MAX_ADDRESSES):
        limits.wait_s(f"10.{n // 256}.{n % 256}.1")
    assert len(limits._addresses) == MAX_ADDRESSES
