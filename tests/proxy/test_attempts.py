"""How often somebody may show a wrong token."""

from __future__ import annotations

import pytest

from proxy.attempts import AT_ONCE, MOST_ADDRESSES, ONE_MORE_S, Attempts


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def attempts(clock: Clock) -> Attempts:
    return Attempts(clock)


def use_up(attempts: Attempts, address: str) -> None:
    for _ in range(AT_ONCE):
        assert attempts.wait_s(address) == 0
        attempts.failed(address)


def test_so_many_are_looked_at_and_then_one_more_now_and_then(attempts: Attempts, clock: Clock) -> None:
    use_up(attempts, "192.0.2.1")
    for _ in range(3):
        assert attempts.wait_s("192.0.2.1") == pytest.approx(ONE_MORE_S)
        clock.now += ONE_MORE_S - 0.1
        assert attempts.wait_s("192.0.2.1") > 0
        clock.now += 0.1
        assert attempts.wait_s("192.0.2.1") == 0
        attempts.failed("192.0.2.1")
    clock.now += AT_ONCE * ONE_MORE_S
    use_up(attempts, "192.0.2.1")


@pytest.mark.parametrize("other", ["192.0.2.2", "2001:db8:0:1::1", "", None])
def test_nobody_waits_for_what_another_address_has_tried(attempts: Attempts, other: str | None) -> None:
    for address in ("192.0.2.1", "2001:db8::1"):
        use_up(attempts, address)
    assert attempts.wait_s(other) == 0


@pytest.mark.parametrize("same", ["2001:db8::ffff:1", "2001:db8:0:0:1:2:3:4", "2001:db8::1%eth0"])
def test_the_addresses_of_one_network_count_as_one(attempts: Attempts, same: str) -> None:
    use_up(attempts, "2001:db8::1")
    assert attempts.wait_s(same) > 0


def test_no_more_addresses_are_remembered_than_there_is_room_for(attempts: Attempts) -> None:
    for i in range(MOST_ADDRESSES + 10):
        attempts.failed(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}")
    assert len(attempts._used) == MOST_ADDRESSES
