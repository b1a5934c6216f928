"""``safeguard evaluate`` and ``safeguard calibrate`` as processes, on the data in ``examples/``."""

from __future__ import annotations

import json
import random
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.end_to_end.servers import MARK, Received, ScriptedServer, Shell

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
N_KILLS = 6

REMOTE = """\
upstreams: {default: {base_url: demo}}
guards:
  fleet: {engine: openai, base_url: "${GUARD_URL}", model: m, max_connections: 8, canaries: false}
  pair: {engine: openai, base_url: "${GUARD_URL}", model: m, second_opinion: classifier, canaries: false}
  classifier: {engine: openai, api: moderations, base_url: "${GUARD_URL}", model: omni, canaries: false}
policies:
  marker: {text: What holds the marker., category: any}
routes:
  - {name: one, upstream: default, input: [{policy: marker, guard: fleet, refuse: 0.5}]}
"""


async def says_by_word(request: web.BaseRequest, received: Received) -> web.StreamResponse:
    """A chat model that takes the word for a violation, and a classifier that doubts a little."""
    asked = received.json
    holds = MARK in (asked["input"] if "input" in asked else asked["messages"][-1]["content"])
    if request.path.endswith("/moderations"):
        return web.json_response(
            {"results": [{"flagged": holds, "category_scores": {"marked": 0.8 if holds else 0.1}}]}
        )
    message = {"role": "assistant", "content": "1" if holds else "0"}
    return web.json_response({"choices": [{"index": 0, "finish_reason": "stop", "message": message}]})


@pytest.fixture
def remote(tmp_path: Path, guard: ScriptedServer) -> Shell:
    guard.script = says_by_word
    (tmp_path / "config.yaml").write_text(REMOTE, encoding="utf-8")
    return Shell(tmp_path, GUARD_URL=guard.url)


def write_rows(shell: Shell, n: int) -> None:
    lines = (
        json.dumps(
            {
                "id": f"row-{i}",
                "text": f"Text {i}{(' ' + MARK) * (i % 3 == 0)}.",
                "label": int(i % 3 == 0 or i % 50 == 1),
            }
        )
        for i in range(n)
    )
    (shell.folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")


def test_guards_and_classifiers_stand_side_by_side(remote: Shell) -> None:
    write_rows(remote, 120)
    options = ["--data", "rows.jsonl", "--policy", "marker", "--guard", "fleet", "--guard", "classifier", "--json"]
    code, out, err = remote.run("evaluate", *options, "--html", "page.html", "--bootstrap", "50")
    assert code == 0, err
    fleet, classifier = json.loads(out)["columns"]
    assert [c["guard"] for c in (fleet, classifier)] == ["fleet", "classifier"]
    for c in (fleet, classifier):
        assert (c["rows"], c["violations"], c["failed"]) == (120, 42, {})
        assert c["figures"]["recall"]["value"] == pytest.approx(40 / 42, abs=1e-6)
        assert c["figures"]["precision"]["value"] == 1.0
        assert {m["id"] for m in c["missed"]} == {"row-1", "row-101"}
    assert fleet["figures"]["ece"]["value"] < classifier["figures"]["ece"]["value"]
    page = (remote.folder / "page.html").read_text(encoding="utf-8")
    assert "fleet" in page
    assert "Text 1" not in page, "rows are named by their ids"
    assert "Text" not in (remote.folder / "safeguard-results.jsonl").read_text(encoding="utf-8")


def test_a_cascade_is_measured_beside_its_last_guard_from_the_verdicts_that_there_are(
    remote: Shell, guard: ScriptedServer
) -> None:
    write_rows(remote, 60)
    options = ["--data", "rows.jsonl", "--policy", "marker", "--bootstrap", "0"]
    assert remote.run("evaluate", *options, "--guard", "classifier", "--guard", "fleet", "--json")[0] == 0
    judged = len(guard.received)
    cascade = [*options, "--guard", "classifier,fleet", "--html", "page.html"]
    code, out, err = remote.run("evaluate", *cascade, "--json")
    assert code == 0, err
    assert len(guard.received) == judged, "nothing is judged twice"
    alone, whole = json.loads(out)["columns"]
    assert [c["guard"] for c in (alone, whole)] == ["fleet", "classifier then fleet"]
    assert whole["figures"]["recall"]["value"] == alone["figures"]["recall"]["value"]
    found = whole["cascade"]
    assert (found["guards"], found["configured"]["pass_below"]) == (["classifier", "fleet"], [[0.25, 0.25]])
    assert found["configured"]["goes_on"]["value"] == pytest.approx(20 / 60, abs=1e-6), "what holds the marker"
    assert found["configured"]["lost"]["value"] == 0
    assert [s["name"] for s in found["by_recall"]] == [f"for {n} %" for n in (90, 95, 98, 99, 100)]
    assert "for 98 %" in (remote.folder / "page.html").read_text(encoding="utf-8")
    code, out, err = remote.run("evaluate", *cascade, "--pass-below", "0.1")
    assert code == 0, err
    assert "pass_below: 0.1" in out


def test_killed_anywhere_no_finished_row_is_lost_or_judged_again(remote: Shell, guard: ScriptedServer) -> None:
    chance = random.Random(random.randrange(10**6))
    write_rows(remote, 400)
    options = [
        "evaluate",
        "--data",
        "rows.jsonl",
        "--policy",
        "marker",
        "--guard",
        "fleet",
        "--json",
        "--bootstrap",
        "0",
    ]
    results = remote.folder / "safeguard-results.jsonl"
    n_whole = 0
    for _ in range(N_KILLS):
        process = remote.begin(*options)
        until = time.monotonic() + 60
        wanted = n_whole + chance.randint(5, 30)
        while time.monotonic() < until and process.poll() is None:
            if results.exists() and results.read_bytes().count(b"\n") >= wanted:
                break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        lines = results.read_bytes().split(b"\n")[:-1]
        assert all(json.loads(line)["score"] in (0.0, 1.0) for line in lines)
        assert len(lines) >= n_whole
        n_whole = len(lines)
    assert 0 < n_whole < 400
    before = len(guard.received)
    code, out, err = remote.run(*options)
    assert code == 0, err
    assert f"{400 - n_whole} of 400 rows to judge" in err
    assert len(guard.received) - before == 400 - n_whole
    (c,) = json.loads(out)["columns"]
    assert (c["rows"], c["failed"]) == (400, {})
    keys = [json.loads(line)["row"] for line in results.read_bytes().splitlines()]
    assert len(keys) == len(set(keys)) == 400


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        pytest.param(["--data", "no.jsonl"], r"no\.jsonl: cannot be read", id="no-file"),
        pytest.param(["--data", "rows.jsonl", "--policy", "nope"], "no policy is called 'nope'", id="no-policy"),
        pytest.param(["--data", "rows.jsonl", "--policy", "no.md"], r"no\.md: cannot be read", id="no-policy-file"),
        pytest.param(
            ["--data", "rows.jsonl", "--policy", "marker", "--guard", "x"], "no guard is called 'x'", id="no-guard"
        ),
        pytest.param(["--data", "rows.jsonl"], "--policy: name one", id="rows-name-no-policy"),
        pytest.param(["--data", "config.yaml", "--policy", "marker"], r"config\.yaml:1: not valid JSON", id="no-rows"),
        pytest.param(
            ["--data", "rows.jsonl", "--policy", "marker", "--results", "rows.jsonl"],
            r"rows\.jsonl:1: is not a result",
            id="rows-as-results",
        ),
        pytest.param(["--data", "rows.jsonl", "--also", "x"], "--also: goes with --traces", id="also-without-traces"),
        pytest.param(
            ["--data", "rows.jsonl", "--policy", "marker", "--guard", "fleet,"],
            "--guard: must be the name of a guard, or different names with commas between them",
            id="half-a-cascade",
        ),
        pytest.param(
            ["--data", "rows.jsonl", "--policy", "marker", "--guard", "fleet", "--pass-below", "0.1"],
            "--pass-below: is for a cascade: --guard FIRST,LAST",
            id="limit-without-a-cascade",
        ),
        pytest.param(
            ["--data", "rows.jsonl", "--policy", "marker", "--guard", "classifier,fleet", "--pass-below", "0.6"],
            "--pass-below: must not be above --threshold, 0.5",
            id="limit-above-the-threshold",
        ),
        pytest.param(
            ["--traces", "rows.jsonl", "--guard", "fleet"],
            "--guard: has no meaning with --traces",
            id="guard-of-traces",
        ),
        pytest.param(
            ["--data", "rows.jsonl", "--policy", "marker", "--guard", "fleet", "--html", "no/page.html"],
            "--html: no/page.html: cannot be written",
            id="no-folder",
        ),
    ],
)
def test_what_cannot_be_is_said_in_one_line(remote: Shell, args: list[str], complaint: str) -> None:
    write_rows(remote, 4)
    rows = (remote.folder / "rows.jsonl").read_bytes()
    code, out, err = remote.run("evaluate", *args)
    assert (code, out) == (2, "")
    last = err.splitlines()[-1]
    assert re.search(complaint, last), err
    assert (remote.folder / "rows.jsonl").read_bytes() == rows


def copied(tmp_path: Path) -> Shell:
    for name in ("shop.yaml", "shop.jsonl", "honest.jsonl", "fruit.md", "fruit-strict.md", "no-competitors.md"):
        (tmp_path / name).write_bytes((EXAMPLES / name).read_bytes())
    return Shell(tmp_path)


def verdict(shell: Shell, text: str) -> dict[str, Any]:
    code, out, err = shell.run("check", "--config", "shop.yaml", "--json", text)
    assert code in (0, 1), err
    found: dict[str, Any] = json.loads(out)["verdicts"][0]
    return found


def test_calibration_brings_scores_nearer_to_probabilities(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the extra `calibrate` is not installed")
    options = ["--config", "shop.yaml", "--policy", "no-competitors", "--data", "shop.jsonl", "--json"]
    code, out, err = copied(tmp_path).run("calibrate", *options)
    assert code == 0, err
    said = json.loads(out)
    assert said["figures"]["ece"]["value"] < said["figures_before"]["ece"]["value"]


def test_a_policy_is_calibrated_served_so_and_told_of_when_it_changes(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the extra `calibrate` is not installed")
    shell = copied(tmp_path)
    pear = "There are pears in the kitchen if you are hungry."
    before = verdict(shell, pear)
    assert before["calibrated"] is False
    options = ["--config", "shop.yaml", "--policy", "fruit", "--data", "shop.jsonl"]
    targets = ["--precision", "0.9", "--recall", "0.7", "--false-alarms-per-1000", "20"]
    code, out, err = shell.run(
        "calibrate", *options, *targets, "--honest", "honest.jsonl", "--plot", "fruit.svg", "--json"
    )
    assert code == 0, err
    said = json.loads(out)
    assert said["stored"] == "fruit.calibration.json"
    assert [t["honest_rows"] for t in said["thresholds"]] == [200] * 3
    assert said["thresholds"][0]["precision"]["value"] >= 0.9
    assert said["pass_below"]["violations_that_go_on"]["value"] >= 0.98
    limits = [c["pass_below"] for c in said["calibrations"]]
    assert limits == [{"score": said["pass_below"]["score"], "recall": 0.98}]
    assert "<svg" in (tmp_path / "fruit.svg").read_text(encoding="utf-8")

    after = verdict(shell, pear)
    assert "calibrated" not in after, "only what is not calibrated says so"
    assert after["score"] != before["score"]
    code, out, err = shell.run("evaluate", *options, "--json", "--bootstrap", "0")
    (c,) = json.loads(out)["columns"]
    assert (code, c["calibrated"], c["notes"]) == (0, 1.0, ["in-sample: the calibration was fitted on these rows"])
    assert "0 of 230 rows to judge" in err, "what was judged to calibrate is not judged again"

    assert shell.run("config", "check", "--config", "shop.yaml")[2] == ""
    policy = (tmp_path / "fruit.md").read_text(encoding="utf-8")
    (tmp_path / "fruit.md").write_text(policy.replace("also other food", "other food too"), encoding="utf-8")
    code, _, err = shell.run("config", "check", "--config", "shop.yaml")
    assert code == 0
    assert err.count("warning: policy fruit, guard embedded: not calibrated: the policy has changed since") == 1
    assert verdict(shell, pear)["calibrated"] is False


def test_policy_files_are_compared_by_the_labels_of_one_policy(tmp_path: Path) -> None:
    shell = copied(tmp_path)
    rows = (tmp_path / "shop.jsonl").read_text(encoding="utf-8").splitlines()[:40]
    (tmp_path / "few.jsonl").write_text("\n".join(rows), encoding="utf-8")
    options = ["--config", "shop.yaml", "--data", "few.jsonl", "--policy", "fruit", "--policy", "fruit=fruit-strict.md"]
    code, out, err = shell.run("evaluate", *options, "--bootstrap", "0")
    assert code == 0, err
    assert len(re.findall("AUROC", out)) == 1, "columns of one table"
    assert "fruit-strict" in out


def test_a_guard_with_a_second_opinion_is_calibrated_with_it_and_judged_so(
    remote: Shell, guard: ScriptedServer
) -> None:
    pytest.importorskip("sklearn", reason="the extra `calibrate` is not installed")
    write_rows(remote, 120)
    options = ["--data", "rows.jsonl", "--policy", "marker", "--guard", "pair"]
    code, out, err = remote.run("calibrate", *options, "--output", "marker.json", "--json")
    assert code == 0, err
    (fitted,) = json.loads(out)["calibrations"]
    assert fitted["second_opinion"] == "omni"
    assert sorted(fitted["curves"]) == ["second_opinion", "trace"]
    assert len(guard.received) == 240, "each row by both, once"
    path = remote.folder / "config.yaml"
    text = path.read_text().replace("category: any}", "category: any, calibration: marker.json}")
    path.write_text(text.replace("guard: fleet, refuse", "guard: pair, refuse"))
    code, out, err = remote.run("evaluate", *options, "--json", "--bootstrap", "0")
    assert code == 0, err
    (c,) = json.loads(out)["columns"]
    assert (c["calibrated"], len(guard.received)) == (1.0, 240)
    code, out, err = remote.run("check", "--json", f"A text with {MARK}.")
    assert code == 1, err
    (found,) = json.loads(out)["verdicts"]
    assert "calibrated" not in found
    assert sorted(r.target for r in guard.received[240:]) == ["/v1/chat/completions", "/v1/moderations"]


def test_what_does_not_make_a_calibration_stores_none(remote: Shell) -> None:
    pytest.importorskip("sklearn", reason="the extra `calibrate` is not installed")
    write_rows(remote, 12)
    options = ["calibrate", "--data", "rows.jsonl", "--policy", "marker", "--guard", "fleet"]
    code, _, err = remote.run(*options)
    assert (code, "policies.marker: has no file to lie beside" in err) == (2, True), err
    code, _, err = remote.run(*options, "--output", "marker.calibration.json")
    assert (code, "needs at least 10 violations and 10 other rows; there are" in err) == (2, True), err
    assert not (remote.folder / "marker.calibration.json").exists()
