"""``safeguard review``: what it prints, and what it does not."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from proxy.__main__ import main
from proxy.evaluation.rows import read_rows
from proxy.review.item import Held, State
from proxy.review.options import later
from proxy.review.queue import ReviewQueue
from tests.proxy.review.things import DAY_US, flagged, new_item

CONFIG = """\
upstreams: {default: {base_url: demo}}
review: {content: full}
policies:
  fruit: {text: "About fruit."}
  music: {detector: patterns, literals: [violin], examples: music.yaml}
  hate: {file: rules/policies/hate.md}
routes: [{name: shop, upstream: default}]
"""
NASTY = "=1+1\x9b31m \u202e back"
"""A formula to a spreadsheet, an escape to a terminal, and turned around by both."""

Command = Callable[..., tuple[int, str, str]]


def kept(text: str, **more: Any) -> dict[str, Any]:
    texts = [{"path": ["messages", 0, "content"], "surface": "user", "kind": "text", "text": text}]
    return {"keep": "full", "texts": texts, **more}


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[ReviewQueue]:
    queue = ReviewQueue(tmp_path / "review.db")
    queue.add(
        [
            new_item("a", "fruit", content=kept("An apple.")),
            new_item("b", "fruit", "music", content=kept("A pear tree for violins.")),
            new_item("c", "music", route="other", content=kept("A violin.\x1b[31m\nAnother one.")),
        ]
    )
    yield queue
    queue.close()


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], queue: ReviewQueue) -> Command:
    (tmp_path / "c.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "music.yaml").write_text("[]\n", encoding="utf-8")

    def run(*args: str) -> tuple[int, str, str]:
        code = main(["review", *args, "--config", str(tmp_path / "c.yaml")])
        return code, *capsys.readouterr()

    return run


def test_a_list_shows_the_newest_first_by_pages(command: Command) -> None:
    code, out, _ = command("list", "--limit", "2")
    assert code == 0
    assert "older ones: --before 2" in out
    _, out, _ = command("list", "--limit", "2", "--before", "2", "--json")
    assert [item["id"] for item in json.loads(out)] == [1]
    _, out, _ = command("list", "--policy", "music", "--route", "other", "--json")
    assert [item["decision_id"] for item in json.loads(out)] == ["c-input"]


def test_content_is_shown_only_where_it_was_asked_for(command: Command) -> None:
    for args in (("list",), ("list", "--json"), ("list", "--csv"), ("show", "1"), ("show", "1", "--json")):
        code, out, _ = command(*args)
        assert (code, "apple" in out) == (0, False)
    assert "An apple." in command("show", "1", "--content")[1]
    assert json.loads(command("show", "1", "--content", "--json")[1])["content"] == kept("An apple.")


def test_nothing_that_a_terminal_obeys_is_printed(command: Command, queue: ReviewQueue) -> None:
    queue.decide(3, State.UPHELD, "kim", NASTY.replace("\x9b", "\t"))
    for args in (("list",), ("show", "3"), ("show", "3", "--content"), ("list", "--csv")):
        _, out, _ = command(*args)
        assert not set("\x1b\x9b\u202e\t") & set(out)
    _, out, _ = command("show", "3", "--content")
    assert "A violin.\\x1b[31m\nAnother one." in out


def test_a_spreadsheet_takes_no_cell_for_a_formula(command: Command, queue: ReviewQueue) -> None:
    queue.decide(3, State.UPHELD, "@kim", "=1+1")
    rows = list(csv.DictReader(io.StringIO(command("list", "--csv")[1])))
    assert (rows[0]["reviewer"], rows[0]["note"], rows[0]["id"]) == ("'@kim", "'=1+1", "3")


def test_deciding_says_what_was_before_and_whether_a_request_waits(command: Command, queue: ReviewQueue) -> None:
    until = queue.clock() + DAY_US
    queue.add([new_item("d", held=Held.WAITING, held_until_us=until)])
    assert command("decide", "4", "unsure", "--reviewer", "kim")[1] == (
        "item 4: unsure by kim; its request waits and hears of it\n"
    )
    queue.end_hold(4, Held.ANSWERED)
    assert (
        command("decide", "d-input", "upheld", "--reviewer", "sam")[1] == "item 4: upheld by sam (was unsure by kim)\n"
    )
    said = json.loads(command("show", "4", "--json")[1])["said"]
    assert [(s["state"], s["reviewer"]) for s in said] == [("unsure", "kim"), ("upheld", "sam")]


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (("show", "99"), "review: no item '99' is in the queue"),
        (("decide", "99", "upheld", "--reviewer", "kim"), "review: no item '99' is in the queue"),
        (("row", "1"), "review: item 1: is pending: decide it first, as upheld or overturned"),
        (("exception", "1", "--expires", "1d"), "review: item 1: is pending: decide it first, as upheld or overturned"),
        (("exceptions", "revoke", "5"), "review: there is no exception 5"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_a_2(command: Command, args: tuple[str, ...], reason: str) -> None:
    assert command(*args) == (2, "", reason + "\n")


def test_without_a_queue_nothing_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    assert main(["review", "list", "--config", str(path)]) == 2
    assert "review.db: there is no review queue here" in capsys.readouterr().err
    path.write_text(CONFIG.replace("review: {content: full}\n", ""), encoding="utf-8")
    assert main(["review", "list", "--config", str(path)]) == 2
    assert capsys.readouterr().err == f"{path}: review: is missing: there is no review queue\n"
    assert [p.name for p in tmp_path.iterdir()] == ["c.yaml"]


def test_an_example_needs_a_file_of_ones_own(command: Command, queue: ReviewQueue) -> None:
    queue.decide(1, State.UPHELD, "kim")
    assert "policy 'fruit' has no file of examples; name one as `examples`" in command("example", "1")[2]
    queue.add([new_item("d", "hate", content=kept("An apple."))])
    queue.decide(4, State.UPHELD, "kim")
    assert "the examples of policy 'hate' are shipped" in command("example", "4")[2]
    queue.add([new_item("e", "gone", content=kept("An apple."))])
    queue.decide(5, State.UPHELD, "kim")
    assert "no policy is called 'gone' any more" in command("example", "5")[2]


def test_an_export_is_what_calibration_reads(tmp_path: Path, command: Command, queue: ReviewQueue) -> None:
    queue.add([new_item("d", "fruit", content=kept("An apple.")), new_item("e", "fruit", content=None)])
    for number, state in ((1, State.UPHELD), (2, State.OVERTURNED), (3, State.UNSURE), (5, State.UPHELD)):
        queue.decide(number, state, "kim")
    queue.decide(4, State.OVERTURNED, "sam")  # the same content as item 1, by a later word
    code, out, err = command("export", "--labelled", str(tmp_path / "rows.jsonl"))
    assert (code, out) == (0, f"{tmp_path / 'rows.jsonl'}: 2 rows, 0 of them violating\n")
    assert err == "left out: item 5: its content was not kept (review.content)\n"
    rows = {row.id: row for row in read_rows([tmp_path / "rows.jsonl"])}
    assert rows["review-4"].violates("fruit") is False
    assert (rows["review-2"].violates("fruit"), rows["review-2"].violates("music")) == (False, False)
    assert (tmp_path / "rows.jsonl").stat().st_mode & 0o777 == 0o600
    code, out, _ = command("export", "--labelled", str(tmp_path / "rows.jsonl"), "--policy", "music", "--json")
    assert (json.loads(out)["rows"], code) == (1, 0)


def test_an_export_replaces_nothing_but_a_file(tmp_path: Path, command: Command) -> None:
    pipe, link, rows = tmp_path / "pipe", tmp_path / "link.jsonl", tmp_path / "rows.jsonl"
    os.mkfifo(pipe)
    for place in (pipe, tmp_path):
        code, _, err = command("export", "--labelled", str(place))
        assert (code, err) == (2, f"--labelled {place}: cannot be written: is no file\n")
    assert pipe.is_fifo()
    code, _, err = command("export", "--labelled", str(tmp_path / "nowhere" / "rows.jsonl"))
    assert (code, err.endswith("cannot be written: No such file or directory\n")) == (2, True)
    rows.write_text("older")
    link.symlink_to(rows)
    assert command("export", "--labelled", str(link))[0] == 0
    assert (link.is_symlink(), rows.read_text()) == (True, "")


def test_an_exception_names_its_policies_where_several_flagged(command: Command, queue: ReviewQueue) -> None:
    queue.decide(2, State.OVERTURNED, "kim")
    assert "several policies flagged: name one of fruit, music" in command("exception", "2", "--expires", "1d")[2]
    args = ("--policy", "fruit", "music", "--why", NASTY.replace("\x9b", " "), "--by", "kim")
    _, out, _ = command("exception", "2", "--expires", "1d", *args)
    assert "\\u202e" in out
    assert [e.policy for e in queue.exceptions()] == ["music", "fruit"]
    assert queue.lookup("music", "rev-music", "print-music") is not None
    _, out, _ = command("exceptions", "list", "--policy", "music", "--json")
    assert [(e["policy"], e["item"], e["by"]) for e in json.loads(out)] == [("music", 2, "kim")]
    command("exceptions", "revoke", "1")
    assert [e.policy for e in queue.exceptions()] == ["music"]
    assert len(json.loads(command("exceptions", "list", "--all", "--json")[1])) == 2


def test_a_later_time_is_a_span_or_a_date() -> None:
    now = datetime.now(UTC)
    assert abs(later("30d") - now - timedelta(days=30)) < timedelta(minutes=1)
    assert later("2999-12-24") == datetime(2999, 12, 24, tzinfo=UTC)


@pytest.mark.parametrize("text", ["0d", "2001-01-01", "30", "-5d", "soon", "99999999d", "", "3w"])
def test_what_is_over_or_no_time_is_told(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["review", "exception", "1", f"--expires={text}"])
    assert end.value.code == 2
    assert "must be a time from now such as 12h or 30d" in capsys.readouterr().err


def test_ten_thousand_items_are_listed_in_a_moment(command: Command, queue: ReviewQueue) -> None:
    queue.add([new_item(f"n{i}", "fruit", flagged=(flagged(),)) for i in range(10_000)])
    code, out, _ = command("list", "--policy", "fruit", "--state", "pending", "--json", "--limit", "20000")
    assert (code, len(json.loads(out))) == (0, 10_002)
