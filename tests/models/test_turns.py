"""Whose turn it is among calls that are worked on a little at a time."""

from __future__ import annotations

from models.arrivals import Arrival
from models.gathering import Call
from models.judge import Stop
from models.turns import Turns

TURN_S = 0.005


def arrived(*keys: str) -> Turns[Arrival]:
    """One call for each key, numbered."""
    arrivals: Turns[Arrival] = Turns()
    for job_id, key in enumerate(keys):
        arrivals.add(arrival(job_id, key))
    return arrivals


def arrival(job_id: int, key: str) -> Arrival:
    return Arrival(job_id, key, [], Call([], Stop(0.0)))


def turns(arrivals: Turns[Arrival], n: int, *, over: bool = False) -> list[int]:
    """Who has the next so many turns."""
    jobs = []
    for _ in range(n):
        jobs.append(arrivals.next().job_id)
        arrivals.had(arrivals.next(), TURN_S, over=over)
    return jobs


def test_keys_take_turns() -> None:
    assert turns(arrived("a", "b", "c"), 7) == [0, 1, 2, 0, 1, 2, 0]


def test_the_calls_of_a_key_take_turns_too() -> None:
    arrivals = arrived("a", "a", "b")
    assert turns(arrivals, 6) == [0, 2, 1, 2, 0, 2]
    assert turns(arrivals, 3, over=True) == [1, 2, 0]
    assert not arrivals


def test_a_call_that_had_no_turn_goes_before_those_of_its_key_that_had_many() -> None:
    arrivals = arrived("a", "a")
    turns(arrivals, 100)
    arrivals.add(arrival(2, "a"))
    assert turns(arrivals, 1, over=True) == [2]


def test_not_all_calls_of_a_key_are_half_done_at_once() -> None:
    arrivals = arrived(*["a"] * 40)
    assert set(turns(arrivals, 200)) == set(range(32))


def test_who_had_a_long_turn_waits_for_as_long() -> None:
    arrivals = arrived("a", "b")
    arrivals.had(arrivals.next(), 3 * TURN_S, over=False)
    assert turns(arrivals, 5) == [1, 1, 1, 0, 1]


def test_a_new_key_has_a_turn_soon_and_makes_up_for_nothing() -> None:
    arrivals = arrived("a", "b")
    turns(arrivals, 101)
    arrivals.add(arrival(2, "c"))
    assert turns(arrivals, 6) == [1, 2, 0, 1, 2, 0]


def test_calls_that_are_not_kept_have_no_turn() -> None:
    arrivals = arrived("a", "b", "b", "c")
    arrivals.keep({2, 3})
    assert turns(arrivals, 3) == [2, 3, 2]
    arrivals.keep(())
    assert not arrivals
