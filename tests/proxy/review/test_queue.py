"""The review queue as a store: several processes, killed, locked, read-only, full, damaged, and large."""

from __future__ import annotations

import os
import random
import resource
import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from proxy.review.item import Filter, Flagged, Held, ReviewConflict, ReviewError, State
from proxy.review.queue import MAX_NOTE_CHARS, ReviewQueue
from tests.proxy.review.things import DAY_US, START_US, Clock, flagged, new_item

# ------------------------------------------------------------------ items


def test_an_item_comes_back_as_it_was_put_in(queue: ReviewQueue) -> None:
    (number,) = queue.add([new_item("a", "fruit", "music", region="eu")])
    item = queue.get(number)
    assert (item.decision_id, item.route, item.region, item.stage) == ("a-input", "shop", "eu", "input")
    assert [(f.policy, f.revision, f.fingerprint, f.about) for f in item.flagged] == [
        ("fruit", "rev-fruit", "print-fruit", {"score": 0.7}),
        ("music", "rev-music", "print-music", {"score": 0.7}),
    ]
    assert (item.state, item.reviewer, item.time_us, item.held) == (State.PENDING, None, START_US, None)
    assert queue.content(number) == {"keep": "full", "texts": [{"text": "About a."}]}
    assert queue.get("a-input") == item


def test_content_that_is_not_kept_is_not_there(queue: ReviewQueue) -> None:
    (number,) = queue.add([new_item(content=None)])
    assert not queue.get(number).has_content
    assert queue.content(number) is None


def test_a_later_judgement_of_the_same_decision_takes_the_place_of_the_first(queue: ReviewQueue) -> None:
    first = queue.add([new_item("a", "fruit")])
    again = queue.add([new_item("a", "music", content={"keep": "full", "texts": [{"text": "All of it."}]})])
    assert again == first
    assert queue.get(first[0]).policies == ["music"]
    assert queue.content(first[0]) == {"keep": "full", "texts": [{"text": "All of it."}]}
    assert queue.items(Filter(policy="fruit")) == []


def test_what_somebody_has_decided_about_stays_decided_if_it_comes_again(queue: ReviewQueue) -> None:
    (number,) = queue.add([new_item("a", "fruit")])
    queue.decide(number, State.OVERTURNED, "kim")
    assert queue.add([new_item("a", "fruit", content={"texts": []})]) == [number]
    assert (queue.get(number).state, queue.get(number).reviewer) == (State.OVERTURNED, "kim")
    assert queue.content(number) == {"keep": "full", "texts": [{"text": "About a."}]}


@pytest.mark.parametrize("more", [flagged("music"), flagged("fruit", fingerprint="print-all")], ids=["policy", "text"])
def test_what_is_flagged_after_somebody_has_decided_waits_again(queue: ReviewQueue, more: Flagged) -> None:
    (number,) = queue.add([new_item("a", "fruit")])
    queue.decide(number, State.OVERTURNED, "kim", "Our own slogan.")
    assert queue.add([new_item("a", flagged=(more,), content={"texts": []})]) == [number]
    item = queue.get(number)
    assert (item.state, item.reviewer, item.note, item.decided_us) == (State.PENDING, None, None, None)
    assert (item.flagged, queue.content(number)) == ((more,), {"texts": []})
    assert [said.note for said in queue.history(number)] == ["Our own slogan."]


def test_nobody_decides_about_what_was_flagged_after_they_looked(queue: ReviewQueue, clock: Clock) -> None:
    (number,) = queue.add([new_item("a", "fruit")])
    seen = queue.get(number)
    queue.add([new_item("a", "music")])
    with pytest.raises(ReviewConflict, match="more of it was flagged"):
        queue.decide(number, State.OVERTURNED, "kim", expected=seen.state, edition=seen.edition)
    until, edition = clock() + DAY_US, seen.edition
    with pytest.raises(ReviewConflict, match="more of it was flagged"):
        queue.add_exception(seen.flagged[0], expires_us=until, by="kim", item=number, edition=edition)
    assert queue.get(number).state is State.PENDING


def test_filters_go_together(queue: ReviewQueue, clock: Clock) -> None:
    queue.add([new_item("a", "fruit"), new_item("b", "music", route="other"), new_item("c", "fruit", stage="output")])
    clock.advance(days=2)
    queue.add([new_item("d", "fruit", "music")])
    queue.decide("a-input", State.UPHELD, "kim")

    def found(wanted: Filter) -> str:
        return "".join(item.request_id for item in queue.items(wanted))

    since = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=START_US + DAY_US)
    assert found(Filter()) == "dcba"
    assert found(Filter(policy="fruit")) == "dca"
    assert found(Filter(policy="fruit", state=State.PENDING)) == "dc"
    assert found(Filter(route="other")) == "b"
    assert found(Filter(stage="output")) == "c"
    assert found(Filter(since=since)) == "d"
    assert found(Filter(until=since, policy="fruit")) == "ca"


def test_pages_go_through_ten_thousand_items_once(queue: ReviewQueue) -> None:
    numbers = queue.add([new_item(str(i)) for i in range(10_000)])
    seen: list[int] = []
    before: int | None = None
    while page := queue.items(before=before, limit=999):
        seen += [item.id for item in page]
        before = page[-1].id
    assert seen == numbers[::-1]
    assert queue.counts().by_state[State.PENDING] == 10_000


# ------------------------------------------------------------------ deciding


def test_the_last_word_stands_and_every_word_is_kept(queue: ReviewQueue, clock: Clock) -> None:
    queue.add([new_item()])
    queue.decide(1, State.UNSURE, "kim", "Ask Sam.")
    clock.advance(seconds=5)
    item = queue.decide("a-input", State.OVERTURNED, "sam")
    assert (item.state, item.reviewer, item.note, item.decided_us) == (State.OVERTURNED, "sam", "", clock.now_us)
    assert [(s.state, s.reviewer, s.note, s.time_us) for s in queue.history(1)] == [
        (State.UNSURE, "kim", "Ask Sam.", START_US),
        (State.OVERTURNED, "sam", "", START_US + 5_000_000),
    ]


def test_a_reviewer_can_insist_that_nobody_was_faster(queue: ReviewQueue) -> None:
    queue.add([new_item()])
    queue.decide(1, State.UPHELD, "kim", expected=State.PENDING)
    with pytest.raises(ReviewConflict, match="item 1: is upheld by 'kim' in the meantime"):
        queue.decide(1, State.OVERTURNED, "sam", expected=State.PENDING)
    assert [said.reviewer for said in queue.history(1)] == ["kim"]


def test_of_two_reviewers_at_once_no_word_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "review.db"
    queues = [ReviewQueue(path) for _ in range(2)]
    queues[0].add([new_item()])
    start = threading.Barrier(2)

    def decides(queue: ReviewQueue, name: str) -> None:
        start.wait()
        for i in range(25):
            queue.decide(1, State.UPHELD if i % 2 else State.OVERTURNED, name)

    threads = [threading.Thread(target=decides, args=(q, f"r{i}")) for i, q in enumerate(queues)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = queues[0].history(1)
    assert sorted(s.reviewer for s in said) == ["r0"] * 25 + ["r1"] * 25
    assert (queues[0].get(1).state, queues[0].get(1).reviewer) == (said[-1].state, said[-1].reviewer)
    for queue in queues:
        queue.close()


@pytest.mark.parametrize(
    ("state", "reviewer", "note", "reason"),
    [
        pytest.param(State.PENDING, "kim", "", "state: must be one of upheld, overturned, unsure", id="pending"),
        pytest.param(State.UPHELD, " ", "", "reviewer: is missing", id="nobody"),
        pytest.param(State.UPHELD, "kim\x1b[31m", "", "reviewer: contains a control character", id="escape"),
        pytest.param(State.UPHELD, "kim", "\ud800", "note: contains an unpaired surrogate", id="surrogate"),
        pytest.param(State.UPHELD, "kim", "a\x00b", "note: contains a control character", id="nul"),
        pytest.param(State.UPHELD, "kim", "x" * (MAX_NOTE_CHARS + 1), "note: is longer than", id="long"),
    ],
)
def test_what_cannot_be_said_is_an_error(
    queue: ReviewQueue, state: State, reviewer: str, note: str, reason: str
) -> None:
    queue.add([new_item()])
    with pytest.raises(ReviewError, match=reason):
        queue.decide(1, state, reviewer, note)
    assert queue.get(1).state is State.PENDING


def test_notes_hold_any_writing(queue: ReviewQueue) -> None:
    queue.add([new_item()])
    note = "Näherès, \u202eodd\u202c, 日本, 🍐\nsecond line\t'quoted\"; DROP TABLE items; --"
    assert queue.decide(1, State.UPHELD, "k'im", note).note == note


@pytest.mark.parametrize("name", [7, "7", "nobody-input", "99999999999999999999999", "'; --", "\x1b[31m"])
def test_an_item_that_is_not_there_is_an_error_in_plain_letters(queue: ReviewQueue, name: int | str) -> None:
    with pytest.raises(ReviewError, match=r"no item ['\"].*['\"] is in the queue") as error:
        queue.decide(name, State.UPHELD, "kim")
    assert str(error.value).isprintable()


# ------------------------------------------------------------------ waiting requests


def test_an_item_is_held_until_its_time_is_over(queue: ReviewQueue, clock: Clock) -> None:
    queue.add([new_item(held=Held.WAITING, held_until_us=START_US + 30_000_000), new_item("b")])
    assert [item.request_id for item in queue.items(Filter(held=True))] == ["a"]
    assert queue.get(1).is_held(clock())
    clock.advance(seconds=30)
    assert queue.items(Filter(held=True)) == []
    assert not queue.get(1).is_held(clock())
    assert queue.end_hold(1, Held.NOBODY) is State.PENDING
    assert queue.get(1).held is Held.NOBODY


@pytest.mark.parametrize("how", [Held.NOBODY, Held.CUT], ids=str)
def test_a_word_that_came_in_time_goes_before_the_end_of_the_time(queue: ReviewQueue, how: Held) -> None:
    queue.add([new_item(held=Held.WAITING, held_until_us=START_US + 1)])
    queue.decide(1, State.UPHELD, "kim")
    assert queue.end_hold(1, how) is State.UPHELD
    assert queue.get(1).held is Held.ANSWERED


def test_a_client_that_left_is_on_the_item_if_there_is_one(queue: ReviewQueue) -> None:
    queue.add([new_item("a", held=Held.WAITING, held_until_us=START_US + 1)])
    queue.left("a-input")
    queue.left("b-input")
    assert queue.get(1).held is Held.LEFT


def test_states_are_told_of_as_many_as_may_wait(queue: ReviewQueue) -> None:
    (number,) = queue.add([new_item()])
    assert queue.states(range(300_000)) == {number: State.PENDING}


def test_states_are_told_of_those_that_are_there(queue: ReviewQueue) -> None:
    queue.add([new_item("a"), new_item("b")])
    queue.decide(2, State.UNSURE, "kim")
    assert queue.states([1, 2, 3]) == {1: State.PENDING, 2: State.UNSURE}


def test_who_reads_sees_that_another_has_written(tmp_path: Path, queue: ReviewQueue) -> None:
    queue.add([new_item()])
    before = queue.version()
    assert queue.version() == before
    other = ReviewQueue(tmp_path / "review.db")
    other.decide(1, State.UPHELD, "kim")
    other.close()
    assert queue.version() != before


# ------------------------------------------------------------------ numbers and age


def test_counts_say_what_waits_and_for_how_long(queue: ReviewQueue, clock: Clock) -> None:
    assert queue.counts().oldest_pending_us is None
    queue.add([new_item("a")])
    clock.advance(seconds=1)
    queue.add([new_item("b"), new_item("c")])
    queue.decide(1, State.UPHELD, "kim")
    counts = queue.counts()
    assert counts.oldest_pending_us == clock.now_us
    assert (counts.by_state[State.PENDING], counts.by_state[State.UPHELD], counts.by_state[State.UNSURE]) == (2, 1, 0)


def test_old_items_go_with_everything_about_them_and_leave_nothing_in_the_file(
    tmp_path: Path, queue: ReviewQueue, clock: Clock
) -> None:
    secret = "the quince in the west garden"
    queue.add([new_item(str(i), content={"texts": [{"text": secret}]}) for i in range(600)])
    queue.decide(1, State.UPHELD, "kim", secret)
    queue.add_exception(flagged(), expires_us=clock() + DAY_US, by="kim")
    clock.advance(days=5)
    queue.add([new_item("young")])
    clock.advance(days=6)
    assert queue.tidy(keep_days=10)
    assert not queue.tidy(keep_days=10)
    assert [item.request_id for item in queue.items()] == ["young"]
    assert queue.history(1) == []
    assert queue.exceptions(all=True) == []
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert secret.encode() not in files


# ------------------------------------------------------------------ exceptions


def test_an_exception_covers_what_it_was_made_for_until_it_expires(queue: ReviewQueue, clock: Clock) -> None:
    made = queue.add_exception(flagged(), expires_us=clock() + DAY_US, by="kim", why="Our own slogan.", item=3)
    assert (made.by, made.why, made.item, made.revision) == ("kim", "Our own slogan.", 3, "rev-fruit")
    assert queue.lookup("fruit", "rev-fruit", "print-fruit") == made
    assert queue.lookup("music", "rev-fruit", "print-fruit") is None
    assert queue.lookup("fruit", "rev-fruit", "another") is None
    assert queue.lookup("fruit", "another", "print-fruit") is None
    clock.advance(days=1)
    assert queue.lookup("fruit", "rev-fruit", "print-fruit") is None
    assert queue.exceptions() == []
    assert queue.exceptions(all=True) == [made]


def test_an_exception_can_outlive_a_change_of_the_policy_if_it_is_asked_to(queue: ReviewQueue, clock: Clock) -> None:
    made = queue.add_exception(flagged(), expires_us=clock() + DAY_US, by="kim", any_revision=True)
    assert queue.lookup("fruit", "another", "print-fruit") == made


def test_a_revoked_exception_does_nothing_and_stays_revoked(queue: ReviewQueue, clock: Clock) -> None:
    queue.add_exception(flagged(), expires_us=clock() + DAY_US, by="kim")
    assert queue.revoke(1, "sam").revoked_by == "sam"
    assert queue.revoke(1, "kim").revoked_by == "sam"
    assert queue.lookup("fruit", "rev-fruit", "print-fruit") is None
    with pytest.raises(ReviewError, match="there is no exception 2"):
        queue.revoke(2, "kim")


def test_what_cannot_be_known_again_or_is_over_is_no_exception(queue: ReviewQueue, clock: Clock) -> None:
    with pytest.raises(ReviewError, match="nothing by which the content could be known again"):
        queue.add_exception(flagged(fingerprint=None), expires_us=clock() + DAY_US, by="kim")
    with pytest.raises(ReviewError, match="expires: must lie in the future"):
        queue.add_exception(flagged(), expires_us=clock(), by="kim")


# ------------------------------------------------------------------ the file


def test_a_queue_that_must_exist_is_not_made(tmp_path: Path) -> None:
    queue = ReviewQueue(tmp_path / "review.db", must_exist=True)
    with pytest.raises(ReviewError, match=r"review\.db: there is no review queue here"):
        queue.items()
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_its_owners_alone(tmp_path: Path, queue: ReviewQueue) -> None:
    queue.add([new_item()])
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_locked_file_is_an_error_and_then_works_again(tmp_path: Path) -> None:
    queue = ReviewQueue(tmp_path / "review.db", busy_s=0.01)
    queue.add([new_item("a")])
    other = sqlite3.connect(tmp_path / "review.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ReviewError, match="database is locked"):
        queue.add([new_item("b")])
    other.execute("ROLLBACK")
    other.close()
    queue.add([new_item("b")])
    assert len(queue.items()) == 2
    queue.close()


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "review.db").write_bytes(b"no database at all, " * 500)
    with pytest.raises(ReviewError, match=r"review\.db: file is not a database"):
        ReviewQueue(tmp_path / "review.db").add([new_item()])


def test_a_folder_in_the_place_of_the_file_is_an_error_in_plain_words(tmp_path: Path) -> None:
    (tmp_path / "review.db").mkdir()
    with pytest.raises(ReviewError, match=r"review\.db: Is a directory$"):
        ReviewQueue(tmp_path / "review.db").add([new_item()])


def test_a_file_of_a_newer_version_is_not_touched(tmp_path: Path, queue: ReviewQueue) -> None:
    queue.add([new_item()])
    other = sqlite3.connect(tmp_path / "review.db")
    other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(ReviewError, match="was written by a newer version"):
        ReviewQueue(tmp_path / "review.db").items()


def test_a_file_that_was_moved_away_is_made_anew(tmp_path: Path, queue: ReviewQueue) -> None:
    queue.add([new_item("a")])
    (tmp_path / "review.db").rename(tmp_path / "old.db")
    for leftover in ("review.db-wal", "review.db-shm"):
        (tmp_path / leftover).unlink(missing_ok=True)
    queue.add([new_item("b")])
    assert [item.request_id for item in queue.items()] == ["b"]


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of a process can be set on Linux only")
def test_a_full_disk_is_an_error_and_then_works_again(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from proxy.review.item import ReviewError\n"
        "from proxy.review.queue import ReviewQueue\n"
        "from tests.proxy.review.things import new_item\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "queue = ReviewQueue(Path(sys.argv[1]))\n"
        "queue.add([new_item('a')])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))\n"
        "try:\n"
        "    queue.add([new_item('b')])\n"
        "except ReviewError as e:\n"
        "    print(e)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "queue.add([new_item('c')])\n"
        "print([item.request_id for item in queue.items()])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "review.db")], capture_output=True, text=True, check=True
    )
    error, found = done.stdout.splitlines()
    assert "review.db: " in error
    assert found == "['c', 'a']"


def test_no_kill_loses_an_item_whose_adding_has_returned(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from proxy.review.queue import ReviewQueue\n"
        "from tests.proxy.review.things import new_item\n"
        "queue = ReviewQueue(Path(sys.argv[1]))\n"
        "for i in range(1_000_000):\n"
        "    queue.add([new_item(f'{sys.argv[2]}.{i}')])\n"
        "    print(f'{sys.argv[2]}.{i}', flush=True)\n"
    )
    path = tmp_path / "review.db"
    chance = random.Random(7)
    told: set[str] = set()
    for run in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", code, str(path), str(run)], stdout=subprocess.PIPE, text=True, env={**os.environ}
        ) as process:
            assert process.stdout is not None
            for _ in range(chance.randint(1, 200)):
                told.add(process.stdout.readline().strip())
            process.kill()
            told |= {line.strip() for line in process.stdout if line.endswith("\n")}
    queue = ReviewQueue(path)
    there = {item.request_id for item in queue.items(limit=1_000_000)}
    queue.close()
    assert told <= there
    assert len(told) > 3
