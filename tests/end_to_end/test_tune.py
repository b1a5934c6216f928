"""``safeguard tune`` from labelled rows to a proxy that refuses by the tuned guard. Needs torch; takes about a minute."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import signal
import subprocess
from pathlib import Path

import aiohttp
import pytest

from models.catalog import EMBEDDED_PATH
from tests.end_to_end.servers import MARK, Shell, chat_body, post, running

pytest.importorskip("torch", reason="the extra `tune` is not installed")

CONFIG = """\
upstreams: {default: {base_url: demo}}
guards:
  small: {engine: encoder, model: MODEL, threads: 1, canaries: false}
policies:
  marks: {text: No product marks., summary: Texts that mention an internal product mark.CALIBRATION}
routes:
  - name: one
    upstream: default
    input: [{policy: marks, guard: small, refuse: 0.5}]
"""
WHO = ("my neighbour", "the new colleague", "our teacher", "a friend from Lisbon", "the gardener", "a visitor")
DID = ("asked about", "wrote a letter on", "forgot", "was glad of", "drew a picture of", "read a book on")
THING = ("the garden fence", "a train to the coast", "blue paint", "the weather in May", "an old bicycle", "two cats")
NEAR = ("order 7781", "the ZQ list", "room 1290", "a mark of 7781 metres", "MARK 12")


def config(model: str = "embedded", calibration: str = "") -> str:
    return CONFIG.replace("MODEL", model).replace("CALIBRATION", calibration)


def write_rows(path: Path) -> None:
    """Sentences, every second one with the mark, the others with something like it."""
    rng = random.Random(0)
    sentences = [" ".join(words) for words in itertools.product(WHO, DID, THING)]
    rng.shuffle(sentences)
    with path.open("w", encoding="utf-8") as out:
        for i, sentence in enumerate(sentences[:200]):
            extra = MARK if i % 2 else rng.choice(NEAR)
            text = f"{sentence}, {extra}" if rng.random() < 0.5 else f"{extra}: {sentence}"
            out.write(json.dumps({"id": f"r{i}", "text": text, "label": i % 2}) + "\n")


@pytest.mark.timeout(600)
async def test_a_guard_learns_a_mark_is_measured_against_its_base_and_serves(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(config(), encoding="utf-8")
    write_rows(tmp_path / "rows.jsonl")
    shell = Shell(tmp_path)
    command = ["tune", "--policy", "marks", "--data", "rows.jsonl", "--output", "made", "--epochs", "5", "--json"]
    process = shell.begin(*command)
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, err.decode()
    assert b"epoch 1: validation loss" in err

    record = json.loads(out)
    made = tmp_path / "made"
    assert sorted(p.name for p in made.iterdir()) == [
        "MODEL_CARD.md",
        "evaluation.html",
        "evaluation.json",
        "marks.calibration.json",
        "tuned-pair.gguf",
        "tuned.gguf",
        "tuned.gguf.sha256",
        "tuned.json",
    ]
    assert record["sha256"] == hashlib.sha256((made / "tuned.gguf").read_bytes()).hexdigest()
    assert record["pair_sha256"] == hashlib.sha256((made / "tuned-pair.gguf").read_bytes()).hexdigest()
    assert (made / "tuned.gguf").read_bytes() == EMBEDDED_PATH.read_bytes(), "no category was trained"
    found = record["policies"]["marks"]
    assert found["answer"] == "better"
    by_guard = {column["guard"]: column["figures"] for column in found["columns"]}
    assert list(by_guard) in (["base", "tuned"], ["base", "base, calibrated", "tuned"])
    assert by_guard["tuned"]["auprc"]["value"] > 0.97 > by_guard["base"]["auprc"]["value"]
    assert by_guard["tuned"]["f1"]["value"] > 0.9
    assert record["parity"]["most"] < 0.5
    assert record["drift"]["far"] < 0.02
    assert {part: counts["violations"] for part, counts in found["parts"].items()} == {
        "training": 60,
        "validation": 20,
        "held out": 20,
    }

    again = shell.run(*command)
    assert (again[0], "overwrite with --force" in again[2]) == (2, True)

    served = config("made/tuned.gguf", ", calibration: made/marks.calibration.json")
    with running(served, tmp_path) as proxy:
        async with aiohttp.ClientSession() as session:
            url = f"{proxy.url()}/chat/completions"
            marked = await post(session, url, chat_body(f"tell of {MARK}, please"))
            honest = await post(session, url, chat_body("tell of order 7781, please"))
        line = proxy.wait_log(lambda line: line.get("event") == "request" and line.get("status") == marked.status)
    assert (marked.decision, honest.decision) == ("refuse", "forward"), (marked, honest)
    (verdict,) = line["input"]["verdicts"]
    assert verdict["model"] == record["model"]
    assert verdict["model"].startswith(f"tuned@{record['sha256'][:12]}+pair@{record['pair_sha256'][:12]}~")
    assert verdict.get("calibrated", True)  # it says so only where it is not


def begin(folder: Path) -> subprocess.Popen[bytes]:
    """A run that is training: it has said what the base's loss is."""
    process = Shell(folder).begin("tune", "--policy", "marks", "--data", "rows.jsonl", "--output", "made")
    assert process.stderr is not None
    said = next((line for line in process.stderr if b"the base: validation loss" in line), None)
    assert said is not None, "it ended before it trained"
    return process


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["terminated", "interrupted"])
def test_a_run_that_is_told_to_end_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "config.yaml").write_text(config(), encoding="utf-8")
    write_rows(tmp_path / "rows.jsonl")
    process = begin(tmp_path)
    assert [path.name[:6] for path in (tmp_path / "made").iterdir()] == [".tune-"]
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert b"Traceback" not in err
    assert list((tmp_path / "made").iterdir()) == []


@pytest.mark.timeout(300)
def test_two_runs_do_not_share_a_folder_and_what_a_killed_one_left_goes(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(config(), encoding="utf-8")
    write_rows(tmp_path / "rows.jsonl")
    first = begin(tmp_path)
    command = ["tune", "--policy", "marks", "--data", "rows.jsonl", "--output", "made", "--force"]
    code, _, err = Shell(tmp_path).run(*command)
    assert (code, "another run of safeguard tune is at work there" in err) == (2, True)
    first.kill()
    first.communicate(timeout=60)
    (left,) = (tmp_path / "made").iterdir()
    next_one = begin(tmp_path)
    assert not left.exists()
    next_one.terminate()
    next_one.communicate(timeout=60)


def test_contents_that_are_all_too_long_to_train_on_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(config(), encoding="utf-8")
    rows = [{"id": str(i), "text": f"word{i} " * 1500, "label": i % 2} for i in range(110)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    code, _, err = Shell(tmp_path).run("tune", "--policy", "marks", "--data", "rows.jsonl", "--output", "made")
    assert (code, "label shorter ones" in err) == (2, True), err


def test_a_device_that_gives_no_numbers_back_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(config(), encoding="utf-8")
    write_rows(tmp_path / "rows.jsonl")
    command = ["tune", "--policy", "marks", "--data", "rows.jsonl", "--output", "made", "--device", "meta"]
    code, _, err = Shell(tmp_path).run(*command)
    assert (code, err.startswith("--device meta: ")) == (2, True), err
