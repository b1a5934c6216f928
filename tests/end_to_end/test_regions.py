"""Regions: what the real proxy puts on record about them, and what of a client's key goes where."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import aiohttp
import pytest

from proxy.__main__ import main
from tests.end_to_end.servers import CLIENT_KEY, UPSTREAM_KEY, Proxy, ScriptedServer, chat_body, post, running

CONFIG = """
upstreams:
  keyed: {{base_url: "${{UPSTREAM_URL}}", api_key_env: UPSTREAM_KEY}}
  open: {{base_url: "${{UPSTREAM_URL}}"}}
audit: {{store: {store}, path: audit}}
policies:
  marker: {{detector: patterns, literals: ["ZQ-MARK-7781"]}}
routes:
  - {{name: everywhere, base: true, upstream: keyed, input: [{{policy: marker, flag: 0.5}}]}}
  - {{name: eu, extends: everywhere, match: {{key_env: [CLIENT_KEY]}}, region: eu, input: [{{policy: marker, refuse: 0.5}}]}}
  - {{name: us, extends: everywhere, match: {{path: /us/v1/*}}, region: us}}
  - {{name: open, extends: everywhere, match: {{path: /open/v1/*}}, upstream: open}}
  - {{name: rest, strictest_of: [eu, us], region: unknown}}
"""
MARKED = chat_body("Apples ZQ-MARK-7781")


async def ask(session: aiohttp.ClientSession, proxy: Proxy, path: str = "", key: str | None = None) -> int:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return (await post(session, f"http://127.0.0.1:{proxy.port}{path}/v1/chat/completions", MARKED, headers)).status


@pytest.mark.parametrize("store", ["sqlite", "jsonl"])
async def test_a_request_s_region_is_in_the_log_and_in_the_audit_and_the_unknown_gets_the_strictest(
    store: str,
    tmp_path: Path,
    backends: dict[str, str],
    upstream: ScriptedServer,
    session: aiohttp.ClientSession,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with running(CONFIG.format(store=store), tmp_path, {**backends, "CLIENT_KEY": CLIENT_KEY}) as proxy:
        assert await ask(session, proxy, key=CLIENT_KEY) == 400
        assert await ask(session, proxy, "/us") == 200
        assert await ask(session, proxy) == 400
        assert await ask(session, proxy, key="sk-somebody-else") == 400
        assert await ask(session, proxy, "/open", key="sk-somebody-else") == 200
        proxy.stop()

        def found(*args: str) -> str:
            assert main(["audit", "--folder", str(tmp_path / "audit"), *args]) == 0
            return capsys.readouterr().out

        eu = json.loads(found("--region", "eu", "--json"))
        assert [(r["route"], r["region"], r["action"]) for r in eu] == [("eu", "eu", "refuse")]
        assert {r["route"] for r in json.loads(found("--region", "unknown", "--json"))} == {"rest"}
        assert not any("region" in r for r in json.loads(found("--route", "open", "--json")))
        rows = list(csv.DictReader(io.StringIO(found("--region", "us", "--csv"), newline="")))
        assert {row["region"] for row in rows} == {"us"}
        assert "unknown" in found("--region", "unknown")
    log = (tmp_path / "proxy.log").read_text()
    regions = [line.get("region") for line in map(json.loads, log.splitlines()) if line["event"] == "request"]
    assert regions == ["eu", "us", "unknown", "unknown", None]
    assert CLIENT_KEY not in log
    assert CLIENT_KEY.encode() not in b"".join(p.read_bytes() for p in (tmp_path / "audit").iterdir())


async def test_a_key_that_chooses_a_route_does_not_reach_an_upstream_that_has_its_own(
    tmp_path: Path, backends: dict[str, str], upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    config = CONFIG.format(store="sqlite")
    config = config.replace("input: [{policy: marker, refuse: 0.5}]", "refusal: message").replace(
        "strictest_of: [eu, us]", "extends: eu"
    )
    with running(config, tmp_path, {**backends, "CLIENT_KEY": CLIENT_KEY}) as proxy:
        assert await ask(session, proxy, key=CLIENT_KEY) == 200
        assert await ask(session, proxy, "/open", key=CLIENT_KEY) == 200
    sent = [received.header("authorization") for received in upstream.received]
    assert sent == [f"Bearer {UPSTREAM_KEY}", f"Bearer {CLIENT_KEY}"]
