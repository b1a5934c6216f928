"""``safeguard screen`` as a process: killed and gone on with, with odd inputs, and with guards that fail meanwhile."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.end_to_end.servers import MARK, Received, ScriptedServer, Shell, judges_mark, replies

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "models" / "weights" / "embedded.gguf"
N_KILLS = int(os.environ.get("SAFEGUARD_KILLS", "6"))
"""How often one run is killed; see `tests.end_to_end.test_audit`."""

CONFIG = """\
upstreams: {default: {base_url: demo}}
guards:
  fleet: {engine: openai, base_url: "${GUARD_URL}", model: m, max_connections: 8}
policies:
  marker: {text: What holds the marker.}
  word: {detector: patterns, literals: [WORD]}
routes:
  - name: one
    upstream: default
    on_error: flag
    input: [{policy: marker, refuse: 0.5}, {policy: word, flag: 0.5}]
    output: [{policy: word, flag: 0.5}]
  - {name: words, upstream: default, input: [{policy: word, flag: 0.5}]}
"""


class Screen(Shell):
    """Runs `safeguard screen` in a folder with a configuration."""

    def __init__(self, folder: Path, guard_url: str) -> None:
        super().__init__(folder, GUARD_URL=guard_url)
        (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")

    def begin(self, *args: str, **options: Any) -> subprocess.Popen[bytes]:
        return super().begin("screen", *args, **options)

    def records(self, name: str = "out.jsonl") -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / name).read_bytes().splitlines()]

    def write(self, name: str, *rows: Any) -> None:
        (self.folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def shell(tmp_path: Path, guard: ScriptedServer) -> Screen:
    return Screen(tmp_path, guard.url)


def rows(n: int) -> Iterator[dict[str, Any]]:
    for i in range(n):
        word = f" {MARK}" * (i % 7 == 0) + " WORD" * (i % 5 == 0)
        yield {"id": f"row-{i}", "text": f"Text {i}{word}."}


def test_killed_again_and_again_anywhere_no_row_is_lost_or_doubled(shell: Screen, guard: ScriptedServer) -> None:
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    n_rows = 25 * N_KILLS  # a killed run gets a third as far
    shell.write("in.jsonl", *rows(n_rows))
    assert shell.run("in.jsonl", "-o", "whole.jsonl")[0] == 1
    whole = (shell.folder / "whole.jsonl").read_bytes()
    assert [r["id"] for r in shell.records("whole.jsonl")] == [f"row-{i}" for i in range(n_rows)]
    out = shell.folder / "out.jsonl"
    sizes = []
    for _ in range(N_KILLS):
        guard.reset()
        process = shell.begin("in.jsonl", "-o", "out.jsonl")
        guard.wait_received(chance.randrange(1, 25), timeout_s=60)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        assert process.returncode == -signal.SIGKILL
        left = out.read_bytes()
        sizes.append(left.count(b"\n"))
        assert whole.startswith(left), f"seed {seed}, kill {len(sizes)}"
    assert sizes == sorted(sizes), f"seed {seed}: a run took back what an earlier one had written"
    assert 0 < sizes[-1] < n_rows, f"seed {seed}: {sizes}"
    code, summary, _ = shell.run("in.jsonl", "-o", "out.jsonl", "--json")
    assert (code, out.read_bytes() == whole) == (1, True), f"seed {seed}"
    assert json.loads(summary)["rows"] == n_rows
    assert json.loads(summary)["rows_now"] == n_rows - sizes[-1]


def test_a_run_that_is_over_is_not_judged_again(shell: Screen, guard: ScriptedServer) -> None:
    shell.write("in.jsonl", *rows(5))
    first = shell.run("in.jsonl", "-o", "out.jsonl", "--json")
    guard.reset()
    again = shell.run("in.jsonl", "-o", "out.jsonl", "--json")
    assert (first[0], again[0], guard.received) == (1, 1, [])
    assert json.loads(again[1])["actions"] == json.loads(first[1])["actions"] == {
        "forward": 4,
        "flag": 0,
        "rewrite": 0,
        "refuse": 1,
    }  # fmt: skip
    assert shell.run("in.jsonl", "-o", "out.jsonl", "--restart")[0] == 1
    assert len(guard.received) == 5


@pytest.mark.parametrize(
    ("change", "args", "said"),
    [
        pytest.param("in.jsonl", (), "the input (sha256) differs from that of the run that began it", id="input"),
        pytest.param("config.yaml", (), "the rule set differs from that of the run that began it", id="configuration"),
        pytest.param(
            "", ("--route", "words"), "--route differs from that of the run that began it (words, was one)", id="route"
        ),
        pytest.param(
            "",
            ("--keep-text",),
            "--keep-text differs from that of the run that began it (true, was false)",
            id="option",
        ),
    ],
)
def test_another_input_or_configuration_does_not_go_on(
    shell: Screen, change: str, args: tuple[str, ...], said: str
) -> None:
    shell.write("in.jsonl", *rows(5))
    assert shell.run("in.jsonl", "-o", "out.jsonl")[0] == 1
    before = (shell.folder / "out.jsonl").read_bytes()
    if change == "in.jsonl":
        shell.write("in.jsonl", *rows(6))
    elif change:
        (shell.folder / change).write_text(CONFIG.replace("refuse: 0.5", "refuse: 0.6"), encoding="utf-8")
    code, _, err = shell.run("in.jsonl", "-o", "out.jsonl", *args)
    assert code == 2
    assert err.startswith(f"out.jsonl: {said}"), err
    assert len(err.splitlines()) == 1
    assert (shell.folder / "out.jsonl").read_bytes() == before
    assert shell.run("in.jsonl", "-o", "out.jsonl", "--restart", *args)[0] == 1


def test_a_guard_that_fails_for_a_while_makes_no_errors(shell: Screen, guard: ScriptedServer) -> None:
    calls = itertools.count()

    async def fails_now_and_then(request: web.BaseRequest, received: Received) -> web.StreamResponse:
        if next(calls) % 3 == 1:
            return await replies({"error": "busy"}, status=503)(request, received)
        return await judges_mark(request, received)

    guard.script = fails_now_and_then
    shell.write("in.jsonl", *rows(60))
    assert shell.run("in.jsonl", "-o", "out.jsonl")[0] == 1
    assert [r["errors"] for r in shell.records()] == [{}] * 60
    assert [r["action"] == "refuse" for r in shell.records()] == [i % 7 == 0 for i in range(60)]


def test_what_a_guard_cannot_judge_takes_the_rule_s_action(shell: Screen, guard: ScriptedServer) -> None:
    async def refuses_one(request: web.BaseRequest, received: Received) -> web.StreamResponse:
        if "Text 2." in received.json["messages"][-1]["content"]:
            return await replies({"error": "no"}, status=400)(request, received)
        return await judges_mark(request, received)

    guard.script = refuses_one
    shell.write("in.jsonl", {"text": "Text 1."}, {"text": "Text 2."})
    code, summary, _ = shell.run("in.jsonl", "-o", "out.jsonl", "--json")
    assert [(r["action"], r["errors"]) for r in shell.records()] == [
        ("forward", {}),
        ("flag", {"marker": "no_verdict"}),
    ]
    assert (code, json.loads(summary)["errors"]) == (1, {"no_verdict": 1})
    config = (shell.folder / "config.yaml").read_text(encoding="utf-8")
    (shell.folder / "config.yaml").write_text(config.replace("on_error: flag", "on_error: refuse"), encoding="utf-8")
    code, summary, _ = shell.run("in.jsonl", "-o", "out.jsonl", "--json", "--restart")
    assert [(r["action"], r.get("cause")) for r in shell.records()] == [("forward", None), ("refuse", "undecided")]
    assert (code, json.loads(summary)["undecided"]) == (2, 1)


def test_standard_input_and_output_are_streams(shell: Screen) -> None:
    given = b'{"text": "a WORD"}\n{"text": "b"}'
    code, out, err = shell.run("-", "-o", "-", "--route", "words", given=given)
    assert (code, [json.loads(line)["action"] for line in out.splitlines()]) == (1, ["flag", "forward"])
    assert "2 rows" in err
    assert shell.run("-", "-o", "out.jsonl", "--route", "words", given=given)[0] == 1
    code, _, err = shell.run("-", "-o", "out.jsonl", "--route", "words", given=given)
    assert (code, "standard input cannot be gone on with; --restart" in err) == (2, True)
    assert shell.run("-", "-o", "out.jsonl", "--route", "words", "--restart", given=given)[0] == 1


def test_csv_is_read_by_its_column(shell: Screen) -> None:
    (shell.folder / "in.csv").write_bytes(b'id,body\r\n7,"two\r\nlines, WORD"\r\n8,fine\r\n')
    code, _, err = shell.run("in.csv", "-o", "out.jsonl", "--route", "words")
    assert code == 2
    assert err.startswith("in.csv: has no column 'text'"), err
    assert shell.run("in.csv", "-o", "out.jsonl", "--route", "words", "--text-field", "body", "--keep-text")[0] == 1
    assert [(r["id"], r["action"], r["input"]) for r in shell.records()] == [
        ("7", "flag", {"text": "two\r\nlines, WORD"}),
        ("8", "forward", {"text": "fine"}),
    ]


def test_the_output_stage_shows_the_prompt_and_judges_the_completion(shell: Screen, guard: ScriptedServer) -> None:
    config = CONFIG.replace("output: [{", "output: [{policy: marker, refuse: 0.5}, {")
    (shell.folder / "config.yaml").write_text(config, encoding="utf-8")
    shell.write("in.jsonl", {"prompt": "a WORD", "completion": "an answer"}, {"prompt": "p", "completion": "WORD"})
    assert shell.run("in.jsonl", "-o", "out.jsonl", "--stage", "output", "--at-once", "1")[0] == 1
    assert [r["action"] for r in shell.records()] == ["forward", "flag"]
    assert "[[user, context]]\na WORD" in guard.received[0].json["messages"][-1]["content"]


def test_bad_rows_are_named_before_anything_is_judged_or_become_error_rows(
    shell: Screen, guard: ScriptedServer
) -> None:
    bad = b'{"text": "a"}\n{"text": "ZQ-SECRET"\n\n{}\n{"text": "WORD"}\n'
    (shell.folder / "in.jsonl").write_bytes(bad)
    code, _, err = shell.run("in.jsonl", "-o", "out.jsonl")
    assert code == 2
    assert err.startswith(
        "in.jsonl:2: not a row: is not JSON: Expecting ',' delimiter (column 21); so are lines 4; "
    ), err
    assert not (shell.folder / "out.jsonl").exists()
    assert guard.received == []
    code, summary, _ = shell.run("in.jsonl", "-o", "out.jsonl", "--on-bad-row", "error", "--json")
    assert (code, json.loads(summary)["errors"]) == (1, {"bad_row": 2})
    assert [(r["action"], r.get("line"), r.get("problem")) for r in shell.records()] == [
        ("forward", None, None),
        ("flag", 2, "is not JSON: Expecting ',' delimiter (column 21)"),
        ("flag", 4, "has none of text, messages, prompt"),
        ("flag", None, None),
    ]
    assert "ZQ-SECRET" not in (shell.folder / "out.jsonl").read_text()


def test_a_full_disk_is_an_error_and_what_was_written_stays(shell: Screen) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    shell.write("in.jsonl", {"text": "x"})
    with Path("/dev/full").open("wb") as full:
        process = subprocess.run(
            [sys.executable, "-m", "proxy", "screen", "in.jsonl", "-o", "-", "--route", "words"],
            cwd=shell.folder,
            env=shell.environ,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert (process.returncode, process.stderr) == (2, b"safeguard screen: No space left on device\n")


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process can be set on Linux only")
def test_a_disk_that_is_full_half_way_names_the_file_and_the_same_command_goes_on(
    shell: Screen, guard: ScriptedServer
) -> None:
    shell.write("in.jsonl", *rows(300))
    process = shell.begin("in.jsonl", "-o", "out.jsonl")
    guard.wait_received(50, timeout_s=60)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert re.fullmatch(
        rb"out\.jsonl: cannot be written: File too large( \(\d+ of 300 rows are written; the same command goes on\))?\n",
        err,
    )
    assert shell.run("in.jsonl", "-o", "out.jsonl")[0] in (0, 1)
    assert len(shell.records()) == 300


def test_stopped_by_hand_it_says_how_to_go_on(shell: Screen, guard: ScriptedServer) -> None:
    shell.write("in.jsonl", *rows(5000))
    process = shell.begin("in.jsonl", "-o", "out.jsonl")
    guard.wait_received(50, timeout_s=60)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err.decode()
    assert b"Traceback" not in err
    n = len(shell.records())
    assert err.decode() == f"stopped ({n} of 5000 rows are written; the same command goes on)\n"


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="models/weights/embedded.gguf is not here")
def test_a_guard_process_that_is_killed_costs_no_row(shell: Screen) -> None:
    (shell.folder / "config.yaml").write_text(
        """\
upstreams: {default: {base_url: demo}}
guards: {embedded: {engine: encoder, canaries: false}}
policies: {hate: {file: rules/policies/hate.md}}
routes: [{name: one, upstream: default, input: [{policy: hate, refuse: 1.0}]}]
""",
        encoding="utf-8",
    )
    shell.write("in.jsonl", *rows(150))
    assert shell.run("in.jsonl", "-o", "whole.jsonl")[0] == 0
    process = shell.begin("in.jsonl", "-o", "-")
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(5)]
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert children
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    rest = process.stdout.read()  # not `communicate`, which forgets what `readline` has read ahead
    _, err = process.communicate(timeout=90)
    assert process.returncode == 0, err.decode()
    assert b"".join(lines) + rest == (shell.folder / "whole.jsonl").read_bytes()
