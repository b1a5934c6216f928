"""Both stores keep the same promises: what was written is found, whole, by every filter, also while it is written."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from proxy.audit import sqlite
from proxy.audit.entry import PolicyText
from proxy.audit.jsonl_reader import JsonLinesReader, backwards
from proxy.audit.opening import reader_of
from proxy.audit.sqlite import SqliteReader
from proxy.audit.store import AuditError, AuditReader, AuditSink, Filter
from tests.proxy.audit.sinks import T0, Clock, first, later, sink_of, verdict

STORES = ("jsonl", "sqlite")


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sink(store: str, tmp_path: Path) -> Iterator[AuditSink]:
    sink = sink_of(store, tmp_path / "audit")
    sink.open()
    yield sink
    sink.close()


@pytest.fixture
def reader(tmp_path: Path, sink: AuditSink) -> AuditReader:
    return reader_of(tmp_path / "audit")


def ids(reader: AuditReader, wanted: Filter = Filter(), **how: int) -> list[int]:  # noqa: B008 - frozen
    """The numbers of the test's records that are found, in order."""
    return [int(r["request_id"], 16) for r in reader.query(wanted, **how)]


def at(n: float) -> datetime:
    """The moment of the ``n``-th record."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=T0 + int(n * 1_000_000))


def test_what_was_written_comes_back_the_newest_first(sink: AuditSink, reader: AuditReader) -> None:
    entries = [first(n, verdicts=[verdict("a", "flag", score=0.5)]) for n in (1, 2, 3)]
    sink.write(entries[:2])
    sink.write(entries[2:])
    assert list(reader.query(Filter())) == [e.fields for e in reversed(entries)]


def test_what_is_added_later_becomes_part_of_the_record(sink: AuditSink, reader: AuditReader) -> None:
    begun = first(1, state="begun", action="flag")
    sink.write([begun, first(2)])
    assert ids(reader, Filter(action="flag")) == [1]
    sink.write([first(3), later(begun, shadow=[verdict("draft", "flag")])])
    sink.write([later(begun, state="decided", action="refuse", verdicts=[verdict("a", "refuse")]), first(4)])
    record = next(iter(reader.query(Filter(decision_id=begun.decision_id))))
    assert record == {
        **begun.fields,
        "state": "decided",
        "action": "refuse",
        "verdicts": [verdict("a", "refuse")],
        "shadow": [verdict("draft", "flag")],
    }
    assert ids(reader) == [4, 3, 2, 1]
    assert ids(reader, Filter(action="refuse")) == [1]
    assert ids(reader, Filter(action="flag")) == []
    assert ids(reader, Filter(policy="draft")) == ids(reader, Filter(policy="a")) == [1]


def test_an_addition_without_its_record_is_nothing(sink: AuditSink, reader: AuditReader) -> None:
    sink.write([later(first(9), status=200), first(1)])
    assert ids(reader) == [1]


def test_a_record_that_was_written_twice_is_one(sink: AuditSink, reader: AuditReader) -> None:
    sink.write([first(1), first(1, action="refuse")])
    assert [r["action"] for r in reader.query(Filter())] == ["refuse"]


FILTERS = [
    pytest.param(Filter(), [6, 5, 4, 3, 2, 1], id="everything"),
    pytest.param(Filter(route="shop"), [6, 4, 3, 1], id="a route"),
    pytest.param(Filter(route="sho"), [], id="not the beginning of a route"),
    pytest.param(Filter(action="refuse"), [5, 2], id="an action"),
    pytest.param(Filter(stage="output"), [4, 3], id="a stage"),
    pytest.param(Filter(policy="spam"), [5, 3], id="a policy"),
    pytest.param(Filter(policy="spam", action="refuse"), [5], id="a policy and an action"),
    pytest.param(Filter(since=at(3)), [6, 5, 4, 3], id="since, included"),
    pytest.param(Filter(until=at(3)), [2, 1], id="until, not included"),
    pytest.param(Filter(since=at(2), until=at(4)), [3, 2], id="a span of time"),
    pytest.param(Filter(since=at(2.5), until=at(2.6)), [], id="a span without records"),
    pytest.param(Filter(request_id=f"{4:032x}"), [4], id="a request"),
    pytest.param(Filter(decision_id=f"{4:032x}-output"), [4], id="a decision"),
    pytest.param(Filter(decision_id=f"{4:032x}-input"), [], id="the other stage's id"),
    pytest.param(
        Filter(request_id=f"{4:032x}", decision_id=f"{3:032x}-output"), [], id="two ids that do not go together"
    ),
    pytest.param(Filter(decision_id="' OR 1=1 --"), [], id="no id at all"),
]


@pytest.mark.parametrize(("wanted", "found"), FILTERS)
def test_filters_find_what_they_name(sink: AuditSink, reader: AuditReader, wanted: Filter, found: list[int]) -> None:
    sink.write(
        [
            first(1),
            first(2, route="eu", action="refuse", verdicts=[verdict("hate", "refuse")]),
            first(3, stage="output", shadow=[verdict("spam", "flag")]),
            first(4, stage="output", verdicts=[verdict("spam", "forward")]),
            first(5, route="eu", action="refuse", verdicts=[verdict("spam", "error")]),
            first(6, action="flag", verdicts=[verdict("hate", "flag")]),
        ]
    )
    assert ids(reader, wanted) == found


def test_pages_follow_each_other_without_gap_or_overlap(sink: AuditSink, reader: AuditReader) -> None:
    stream = first(1, state="begun")
    sink.write([stream, *(first(n) for n in range(2, 12)), later(stream, state="decided")])
    pages: list[list[int]] = []
    before = None
    while page := list(reader.query(Filter(), before=before, limit=4)):
        pages.append([int(r["request_id"], 16) for r in page])
        before = page[-1]["seq"]
    assert pages == [[11, 10, 9, 8], [7, 6, 5, 4], [3, 2, 1]]
    assert list(reader.query(Filter(), limit=0)) == []


def test_a_store_goes_on_where_it_ended(store: str, tmp_path: Path) -> None:
    for n in (1, 2):
        sink = sink_of(store, tmp_path / "audit")
        assert sink.open() == (0 if n == 1 else T0 + 1_000_000)
        sink.write([first(n)])
        sink.close()
    assert ids(reader_of(tmp_path / "audit")) == [2, 1]


def test_only_one_writes_to_a_folder(store: str, tmp_path: Path, sink: AuditSink) -> None:
    second = sink_of(store, tmp_path / "audit")
    with pytest.raises(AuditError, match="another process writes its audit there"):
        second.open()
    second.close()
    sink.close()
    second.open()
    second.close()


def test_the_key_stays_and_is_nobody_elses(store: str, tmp_path: Path, sink: AuditSink) -> None:
    path = tmp_path / "audit" / "key"
    key = path.read_text()
    assert len(bytes.fromhex(key)) == 32
    for file in (tmp_path / "audit").iterdir():
        assert file.stat().st_mode & 0o077 == 0, file.name
    sink.close()
    again = sink_of(store, tmp_path / "audit")
    again.open()
    again.close()
    assert path.read_text() == key


@pytest.mark.parametrize("text", ["", "zz", "00" * 31], ids=["empty", "not hexadecimal", "too short"])
def test_a_key_that_cannot_be_read_is_not_replaced(store: str, tmp_path: Path, text: str) -> None:
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "key").write_text(text)
    with pytest.raises(AuditError, match="64 hexadecimal digits"):
        sink_of(store, tmp_path / "audit").open()
    assert (tmp_path / "audit" / "key").read_text() == text


def test_policies_are_kept_once_by_revision(sink: AuditSink, reader: AuditReader) -> None:
    old = PolicyText("spam", "aaaaaaaaaaaa", "No spam.\n", "2026-01-01T00:00:00.000000Z")
    new = PolicyText("spam", "bbbbbbbbbbbb", "No spam, no scams.\n", "2026-02-01T00:00:00.000000Z")
    twin = PolicyText("ads", "aaaaaaaaaaaa", "No spam.\n", "2026-03-01T00:00:00.000000Z")
    sink.keep_policies([old])
    sink.keep_policies([new, twin, PolicyText("spam", "aaaaaaaaaaaa", "No spam.\n", "2027-01-01T00:00:00.000000Z")])
    assert sorted(reader.policies("aaaaaaaaaaaa"), key=lambda p: p.name) == [twin, old]
    assert reader.policies("bbbbbbbbbbbb") == [new]
    assert reader.policies("cccccccccccc") == []


def test_one_reader_finds_every_content_also_what_is_kept_while_it_reads(sink: AuditSink, reader: AuditReader) -> None:
    def write(*numbers: int) -> None:
        sink.write([first(n, kept="full", kept_at=first(n).time, keeps={"keep": "full", "n": n}) for n in numbers])

    def found() -> list[int]:
        contents = [reader.content(record) for record in reader.query(Filter())]
        return [content["n"] for content in contents if content is not None]

    write(1, 2, 3)
    assert found() == [3, 2, 1]
    write(4, 7200)  # in the same hour, and in another one
    assert found() == [7200, 4, 3, 2, 1]
    assert reader.content({"seq": T0 + 5_000_000, "kept_at": first(5).time}) is None


@pytest.mark.parametrize("store", STORES)
def test_content_goes_before_it_is_too_old_and_its_record_stays(store: str, tmp_path: Path) -> None:
    clock = Clock()
    sink = sink_of(store, tmp_path / "audit", clock=clock, content_days=7)
    sink.open()
    reader = reader_of(tmp_path / "audit")
    text = "Ask Zoe ZQ-MARK-7781."
    entry = first(0, kept="full", kept_at="2026-09-21T14:13:20.000000Z", keeps={"keep": "full", "texts": [text]})
    assert entry.time == entry.fields["kept_at"]
    sink.write([entry])
    record = next(reader.query(Filter()))
    assert reader.content(record) == {"keep": "full", "texts": [text]}
    clock.pass_days(6.9)
    assert sink.tidy(clock()) is False
    assert reader.content(record) is not None
    clock.pass_days(0.1)
    sink.tidy(clock())
    assert reader.content(record) is None
    assert list(reader.query(Filter())) == [record]
    sink.close()
    for file in (tmp_path / "audit").iterdir():
        assert text.encode() not in file.read_bytes(), f"{file.name} still holds it"


@pytest.mark.parametrize("store", STORES)
def test_records_go_when_the_configuration_says_so(store: str, tmp_path: Path) -> None:
    clock = Clock()
    sink = sink_of(store, tmp_path / "audit", clock=clock, content_days=1, record_days=10)
    sink.open()
    sink.write([first(0, verdicts=[verdict("spam", "flag")], keeps={"texts": []})])
    clock.pass_days(9)
    sink.tidy(clock())  # puts the old file of JSON lines aside
    late = first(9 * 86_400)
    sink.write([late])
    reader = reader_of(tmp_path / "audit")
    assert len(ids(reader)) == 2
    clock.pass_days(10.1)
    sink.tidy(clock())
    if store == "sqlite":  # to the record
        assert ids(reader) == []
    else:  # a file goes when its last record is that old; the current one has been put aside only now
        assert ids(reader) == [9 * 86_400]
    assert ids(reader, Filter(policy="spam")) == []
    sink.close()


def test_a_day_of_records_is_deleted_in_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "AT_ONCE", 4)
    sink = sink_of("sqlite", tmp_path / "audit", content_days=1, record_days=1)
    sink.open()
    sink.write([first(n) for n in range(10)])
    steps = 1
    while sink.tidy(T0 + 2 * 86_400 * 1_000_000):
        steps += 1
    assert steps == 3
    assert ids(reader_of(tmp_path / "audit")) == []
    sink.close()


def test_a_reader_does_not_stand_in_the_way_of_deleting(tmp_path: Path) -> None:
    sink = sink_of("sqlite", tmp_path / "audit", content_days=1)
    sink.open()
    sink.write([first(n, keeps={"texts": ["ZQ-MARK-7781"]}) for n in range(2000)])
    reading = reader_of(tmp_path / "audit").query(Filter())
    next(reading)
    later_us = T0 + 2 * 86_400 * 1_000_000
    while sink.tidy(later_us):
        pass
    assert b"ZQ-MARK-7781" in (tmp_path / "audit" / "audit.sqlite3-wal").read_bytes()
    assert len(list(reading)) == 1999
    sink.tidy(later_us)  # the log is emptied once nobody reads in it
    for file in (tmp_path / "audit").iterdir():
        assert b"ZQ-MARK-7781" not in file.read_bytes(), file.name
    sink.close()


# ------------------------------------------------------------------ JSON lines


def test_records_are_found_in_files_that_were_put_aside(tmp_path: Path) -> None:
    clock = Clock()
    sink = sink_of("jsonl", tmp_path / "audit", clock=clock, rotate_bytes=1500)
    sink.open()
    stream = first(0, state="begun")
    sink.write([stream])
    for n in range(1, 20):
        clock.now_us = T0 + n * 1_000_000
        sink.write([first(n)])
    sink.write([later(stream, state="decided", action="refuse")])
    files = sorted((tmp_path / "audit").glob("audit-*.jsonl"))
    assert len(files) >= 3
    assert all(file.stat().st_size < 1500 + 1000 for file in files)
    reader = reader_of(tmp_path / "audit")
    assert ids(reader) == list(range(19, -1, -1))
    assert ids(reader, Filter(action="refuse")) == [0]
    assert ids(reader, Filter(since=at(17))) == [19, 18, 17]
    files[0].unlink()
    assert 0 not in ids(reader)
    sink.close()


def test_a_file_is_put_aside_when_it_is_a_day_old(tmp_path: Path) -> None:
    clock = Clock()
    sink = sink_of("jsonl", tmp_path / "audit", clock=clock)
    sink.open()
    sink.write([first(0)])
    sink.close()
    sink = sink_of("jsonl", tmp_path / "audit", clock=clock)
    sink.open()
    clock.pass_days(0.9)
    sink.write([first(1)])
    assert not list((tmp_path / "audit").glob("audit-*.jsonl"))
    clock.pass_days(0.1)
    sink.write([first(2)])
    assert [f.name for f in (tmp_path / "audit").glob("audit-*.jsonl")] == ["audit-20260922T141320.000000Z.jsonl"]
    assert ids(reader_of(tmp_path / "audit")) == [2, 1, 0]
    sink.close()


def test_a_clock_that_was_set_back_overwrites_nothing(tmp_path: Path) -> None:
    clock = Clock()
    sink = sink_of("jsonl", tmp_path / "audit", clock=clock, rotate_bytes=1)
    sink.open()
    for n in range(4):  # the clock stands: every file would be put aside under the same name
        sink.write([first(n)])
    assert ids(reader_of(tmp_path / "audit")) == [3, 2, 1, 0]
    sink.close()


def test_a_file_that_is_put_aside_while_it_is_read_is_read_once(tmp_path: Path) -> None:
    clock = Clock()
    sink = sink_of("jsonl", tmp_path / "audit", clock=clock, rotate_bytes=2000)
    sink.open()
    sink.write([first(n) for n in range(8)])
    reading = reader_of(tmp_path / "audit").query(Filter())
    found = [next(reading)]
    clock.now_us += 1_000_000_000
    sink.write([first(n) for n in range(1000, 1003)])
    assert len(list((tmp_path / "audit").glob("audit-*.jsonl"))) == 1
    found += reading
    assert [int(r["request_id"], 16) for r in found] == [7, 6, 5, 4, 3, 2, 1, 0]
    sink.close()


@pytest.mark.parametrize(
    ("damage", "damaged"),
    [
        pytest.param(b"not JSON\n", 1, id="no JSON"),
        pytest.param(b"[1, 2]\n", 1, id="no object"),
        pytest.param(b'{"seq": 1}\n', 1, id="no record"),
        pytest.param(b'{"seq": 1, "deci', 0, id="a line under way"),
        pytest.param(b"\x00" * 5000 + b"\n", 1, id="zeros"),
        pytest.param(b"\n\n", 0, id="empty lines"),
    ],
)
def test_damaged_lines_are_counted_and_hide_nothing(tmp_path: Path, damage: bytes, damaged: int) -> None:
    sink = sink_of("jsonl", tmp_path / "audit")
    sink.open()
    sink.write([first(1)])
    sink.close()
    path = tmp_path / "audit" / "audit.jsonl"
    with path.open("ab") as file:
        file.write(damage)
    reader = reader_of(tmp_path / "audit")
    assert (ids(reader), reader.damaged) == ([1], damaged)
    sink = sink_of("jsonl", tmp_path / "audit")
    assert sink.open() == T0 + 1_000_000
    sink.write([first(2)])
    sink.close()
    assert ids(reader_of(tmp_path / "audit")) == [2, 1]


@pytest.mark.parametrize("cut", range(2, 400, 13))
def test_a_torn_tail_loses_the_torn_line_only(tmp_path: Path, cut: int) -> None:
    sink = sink_of("jsonl", tmp_path / "audit")
    sink.open()
    sink.write([first(n) for n in range(4)])
    sink.close()
    path = tmp_path / "audit" / "audit.jsonl"
    os.truncate(path, path.stat().st_size - cut)
    whole = path.read_bytes().count(b"\n")
    sink = sink_of("jsonl", tmp_path / "audit")
    sink.open()
    sink.write([first(9)])
    sink.close()
    assert ids(reader_of(tmp_path / "audit")) == [9, *range(whole - 1, -1, -1)]


def test_a_damaged_line_of_policies_is_left_out(tmp_path: Path) -> None:
    sink = sink_of("jsonl", tmp_path / "audit")
    sink.open()
    text = PolicyText("a", "r1", "A.", "t")
    sink.keep_policies([text])
    with (tmp_path / "audit" / "policies.jsonl").open("ab") as file:
        file.write(b'{"name": "b", "revi')
    sink.write([first(1)])
    sink.keep_policies([text, PolicyText("b", "r2", "B.", "t")])
    reader = reader_of(tmp_path / "audit")
    assert [len(reader.policies(r)) for r in ("r1", "r2")] == [1, 1]
    sink.close()


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64])
def test_lines_backwards_are_the_lines(tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.audit.jsonl_reader.BLOCK_BYTES", block)
    path = tmp_path / "f"
    for text in (b"", b"\n", b"a", b"a\n", b"a\nbb\n\nccc\n", b"a\nbb\nccc", b"\n\n\n", b"long line " * 20 + b"\nx\n"):
        path.write_bytes(text)
        with path.open("rb") as file:
            assert list(backwards(file)) == text.split(b"\n")[:-1][::-1]


# ------------------------------------------------------------------ SQLite


def test_a_store_of_an_older_version_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = sink_of("sqlite", tmp_path / "audit")
    sink.open()
    sink.write([first(1)])
    sink.close()
    monkeypatch.setattr(sqlite, "MIGRATIONS", (*sqlite.MIGRATIONS, "ALTER TABLE records ADD COLUMN note TEXT;"))
    with pytest.raises(AuditError, match="older version"):
        ids(reader_of(tmp_path / "audit"))
    sink = sink_of("sqlite", tmp_path / "audit")
    sink.open()
    sink.write([first(2)])
    assert ids(reader_of(tmp_path / "audit")) == [2, 1]
    sink.close()


def test_a_migration_that_fails_leaves_the_store_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = sink_of("sqlite", tmp_path / "audit")
    sink.open()
    sink.write([first(1)])
    sink.close()
    with monkeypatch.context() as patched:
        broken = "ALTER TABLE records ADD COLUMN note TEXT; ALTER TABLE nowhere ADD COLUMN note TEXT;"
        patched.setattr(sqlite, "MIGRATIONS", (*sqlite.MIGRATIONS, broken))
        sink = sink_of("sqlite", tmp_path / "audit")
        with pytest.raises(AuditError, match="nowhere"):
            sink.open()
        sink.close()
    assert ids(reader_of(tmp_path / "audit")) == [1]
    with sqlite3.connect(tmp_path / "audit" / "audit.sqlite3") as db:
        assert "note" not in [row[1] for row in db.execute("PRAGMA table_info(records)")]
    db.close()


def test_a_store_of_a_newer_version_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(sqlite, "MIGRATIONS", (*sqlite.MIGRATIONS, "CREATE TABLE later (x);"))
        sink = sink_of("sqlite", tmp_path / "audit")
        sink.open()
        sink.close()
    sink = sink_of("sqlite", tmp_path / "audit")
    with pytest.raises(AuditError, match="newer version"):
        sink.open()
    sink.close()
    with pytest.raises(AuditError, match="newer version"):
        ids(reader_of(tmp_path / "audit"))


def test_a_database_that_is_taken_away_is_begun_anew(tmp_path: Path) -> None:
    sink = sink_of("sqlite", tmp_path / "audit")
    sink.open()
    sink.write([first(1)])
    (tmp_path / "moved").mkdir()
    for file in (tmp_path / "audit").glob("audit.sqlite3*"):
        file.rename(tmp_path / "moved" / file.name)
    sink.write([first(2)])
    sink.close()
    assert ids(reader_of(tmp_path / "audit")) == [2]
    assert ids(reader_of(tmp_path / "moved")) == [1]


@pytest.mark.parametrize("data", [b"", b"garbage" * 1000], ids=["an empty file", "no database"])
def test_a_file_that_is_no_database_is_told_from_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "audit.sqlite3").write_bytes(data)
    if data:
        with pytest.raises(AuditError, match="not a database"):
            sink_of("sqlite", tmp_path / "audit").open()
        with pytest.raises(AuditError, match="not a database"):
            ids(reader_of(tmp_path / "audit"))
    else:
        sink = sink_of("sqlite", tmp_path / "audit")
        sink.open()
        sink.close()


def test_filters_use_indices(tmp_path: Path) -> None:
    sink = sink_of("sqlite", tmp_path / "audit")
    sink.open()
    sink.close()
    with sqlite3.connect(tmp_path / "audit" / "audit.sqlite3") as db:
        for wanted in (
            Filter(action="refuse"),
            Filter(route="a"),
            Filter(policy="p"),
            Filter(request_id="r"),
            Filter(),
        ):
            where, values = sqlite._where(wanted, before=5)
            sql = f"EXPLAIN QUERY PLAN SELECT record FROM records {where} ORDER BY seq DESC LIMIT 50"
            plan = " ".join(str(row[3]) for row in db.execute(sql, values))
            assert "SEARCH" in plan, (wanted, plan)
    db.close()


def test_where_there_is_no_audit_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="there is no audit here"):
        reader_of(tmp_path)
    for reader in (JsonLinesReader(tmp_path / "nowhere"), SqliteReader(tmp_path)):
        with pytest.raises(AuditError, match="there is no audit here"):
            list(reader.query(Filter()))


def test_a_folder_that_cannot_be_made_is_named(store: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AuditError, match="file/audit: Not a directory"):
        sink_of(store, tmp_path / "file" / "audit").open()
