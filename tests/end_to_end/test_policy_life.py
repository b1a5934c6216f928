"""A policy's whole life with the real proxy and a real model: flagged, reviewed, learned from, calibrated, changed, replayed."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.end_to_end.servers import Proxy, Shell, running

TINY = Path(__file__).parents[1] / "data" / "tiny-gpt-oss.gguf"

CONFIG = f"""
admin: {{port: 0}}
upstreams: {{default: {{base_url: demo}}}}
audit: {{path: audit, store: sqlite, content: full}}
review: {{path: review.db, content: full}}
guards:
  tiny: {{engine: llama, model: {TINY}, effort: none, n_ctx: 512, threads: 1, canaries: false}}
policies:
  fruit: {{file: fruit.md}}
routes:
  - name: shop
    upstream: default
    input: [{{policy: fruit, flag: 0.6, scope: [user]}}]
"""
FRUIT = ("She likes the banana.", "A lemon fell to the floor.", "The cherry is in the bowl.", "He sold a melon.")
NO_FRUIT = ("Someone left a key in the hall.", "They agreed in the end.", "The answer is yes.", "She sold a chair.")
OUR_OWN = "Grape is the name of our new chair."


def ask(proxy: Proxy, text: str) -> dict[str, str]:
    body = json.dumps({"model": "demo", "messages": [{"role": "user", "content": text}]}).encode()
    request = urllib.request.Request(f"{proxy.url()}/chat/completions", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return {name.lower(): value for name, value in answer.headers.items()}
    except urllib.error.HTTPError as refused:
        return {name.lower(): value for name, value in refused.headers.items()}


def words(shell: Shell, *args: str, code: int = 0) -> Any:
    """What a command says as JSON."""
    status, out, err = shell.run(*args, "--json")
    assert status == code, (args, err, out)
    return json.loads(out)


class Reloads:
    """Waits for one reload after the other."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._seen: set[str] = set()

    def wait(self) -> None:
        line = self._proxy.wait_log(
            lambda line: line.get("event") == "reloaded" and line["configuration"] not in self._seen, 30
        )
        self._seen.add(line["configuration"])


def test_what_people_say_about_flags_changes_the_policy_and_replay_shows_what_that_does(tmp_path: Path) -> None:
    (tmp_path / "fruit.md").write_text("No fruit, please.\n", encoding="utf-8")
    shell = Shell(tmp_path)
    with running(CONFIG, tmp_path) as proxy:
        proxy.wait_log(lambda line: line.get("state") == "ready", 60)
        reloads = Reloads(proxy)
        flagged = {text: headers for text in (*FRUIT, OUR_OWN) if (headers := ask(proxy, text))}
        assert {headers["x-safeguard-decision"] for headers in flagged.values()} == {"flag"}
        assert {ask(proxy, text)["x-safeguard-decision"] for text in NO_FRUIT} == {"forward"}

        # reviewed
        items = words(shell, "review", "list")
        assert [item["decision_id"] for item in reversed(items)] == [
            headers["x-safeguard-decision-id"] for headers in flagged.values()
        ]
        for item in items:
            is_ours = item["decision_id"] == flagged[OUR_OWN]["x-safeguard-decision-id"]
            words(shell, "review", "decide", str(item["id"]), "overturned" if is_ours else "upheld")

        # an exception for what is our own, an example of what is not: the proxy takes both in while it serves
        ours = next(i for i in items if i["decision_id"] == flagged[OUR_OWN]["x-safeguard-decision-id"])
        words(shell, "review", "exception", str(ours["id"]), "--expires", "1d", "--why", "our own chair")
        deadline = time.monotonic() + 20
        while ask(proxy, OUR_OWN)["x-safeguard-decision"] != "forward":
            assert time.monotonic() < deadline, "the exception does not apply"
            time.sleep(0.2)  # between two looks, not for something to happen
        assert ask(proxy, FRUIT[0])["x-safeguard-decision"] == "flag"
        upheld = next(i for i in items if i["decision_id"] == flagged[FRUIT[0]]["x-safeguard-decision-id"])
        words(shell, "review", "example", str(upheld["id"]))
        proxy.wait_log(
            lambda line: line.get("event") == "reload_unchanged", 30
        )  # without canaries, examples change nothing
        assert words(shell, "test")["passed"] == 1

        # calibrated on what was decided, and on what passed
        status, _, err = shell.run("review", "export", "--labelled", "rows.jsonl")
        assert status == 0, err
        with (tmp_path / "rows.jsonl").open("a", encoding="utf-8") as rows:
            for n in range(8):
                for text in NO_FRUIT:
                    rows.write(json.dumps({"id": f"n{n}{text}", "text": f"{text} {n}", "labels": {"fruit": 0}}) + "\n")
                for text in FRUIT:
                    rows.write(json.dumps({"id": f"f{n}{text}", "text": f"{text} {n}", "labels": {"fruit": 1}}) + "\n")
        words(shell, "calibrate", "--policy", "fruit", "--data", "rows.jsonl", "--recall", "0.9")
        reloads.wait()
        ask(proxy, FRUIT[1])
        last = proxy.wait_log(
            lambda line: line.get("event") == "request" and line["input"]["verdicts"][0].get("calibrated", True)
        )
        assert last["input"]["verdicts"][0]["score"] > 0.6

        # a stricter draft: what it would change is known before it serves
        draft = tmp_path / "draft.yaml"
        draft.write_text(CONFIG.replace("flag: 0.6", "flag: 0.3, refuse: 0.6"), encoding="utf-8")
        changes = words(shell, "replay", "--against", "draft.yaml", code=1)
        assert changes["changed"], changes
        draft.replace(tmp_path / "config.yaml")
        reloads.wait()
        assert ask(proxy, FRUIT[2])["x-safeguard-decision"] == "refuse"
        assert ask(proxy, NO_FRUIT[0])["x-safeguard-decision"] == "forward"
