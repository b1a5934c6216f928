"""The review queue of the real proxy: flagged, decided by another process, held, excepted, killed, and with a broken file."""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from proxy.audit.opening import reader_of
from proxy.audit.store import Filter as AuditFilter
from proxy.evaluation.rows import read_rows
from proxy.review.item import Filter, Held, Item, State
from proxy.review.queue import ReviewQueue
from rules.examples import read_example_file
from tests.end_to_end.servers import (
    MARK,
    Proxy,
    Reply,
    ScriptedServer,
    chat_body,
    completion,
    post,
    replies,
    running,
    streams,
    text_stream,
)

KILLS = int(os.environ.get("SAFEGUARD_KILLS", "5"))

CONFIG = """
admin: {{port: 0}}
upstreams:
  default: {{base_url: "${{UPSTREAM_URL}}"}}
review: {{content: full{more}}}
{audit}
guards:
  remote: {{engine: openai, base_url: "${{GUARD_URL}}", model: guard, canaries: false}}
policies:
  marker: {{detector: patterns, literals: ["ZQ-MARK-7781"], examples: marker.examples.yaml}}
  pears:  {{detector: patterns, literals: ["pears"]}}
  traces: {{detector: patterns, literals: ["<PATTERN_1>"]}}
  judged: {{text: "Content with a mark is a violation.", examples: judged.examples.yaml}}
routes:
  - name: held
    match: {{path: /held/v1/*}}
    upstream: default
    input: [{{policy: marker, flag: 0.5, hold: true}}]
    output: [{{policy: marker, flag: 0.5, hold: true}}]
  - name: briefly
    match: {{path: /briefly/v1/*}}
    upstream: default
    input: [{{policy: marker, flag: 0.5, hold: true, hold_s: 0.1}}]
  - name: lenient
    match: {{path: /lenient/v1/*}}
    upstream: default
    input: [{{policy: marker, flag: 0.5, hold: true, hold_s: 0.1, on_error: flag}}]
  - name: rewritten
    match: {{path: /rewritten/v1/*}}
    upstream: default
    input: [{{policy: marker, rewrite: 0.5}}, {{policy: traces, flag: 0.5, hold: true}}]
  - name: window
    match: {{path: /window/v1/*}}
    upstream: default
    stream: window
    window_chars: 10
    overlap_chars: 2
    output: [{{policy: pears, flag: 0.5}}]
  - name: judged
    match: {{path: /judged/v1/*}}
    upstream: default
    input: [{{policy: judged, guard: remote, flag: 0.5, scope: [user]}}]
    output: [{{policy: judged, guard: remote, flag: 0.5, scope: [assistant]}}]
  - name: default
    upstream: default
    input:
      - {{policy: marker, flag: 0.5, scope: [user]}}
      - {{policy: pears, refuse: 0.5}}
    output: [{{policy: marker, flag: 0.5}}]
"""
AUDIT = "audit: {store: sqlite, content: none}"

EXAMPLES = """\
# What this policy is about.

- text: "An apple."   # fine
  stage: input
  violates: false
"""


@dataclass(slots=True)
class Site:
    """A proxy with its queue."""

    folder: Path
    proxy: Proxy
    session: aiohttp.ClientSession
    queue: ReviewQueue
    environ: dict[str, str]

    async def ask(self, text: str, prefix: str = "", **more: Any) -> Reply:
        return await post(self.session, f"{self.proxy.url(prefix)}/chat/completions", chat_body(text, **more))

    def asking(self, text: str, prefix: str = "", **more: Any) -> asyncio.Task[Reply]:
        return asyncio.get_running_loop().create_task(self.ask(text, prefix, **more))

    async def command(self, *args: str, code: int = 0) -> str:
        """``safeguard review``, as another process."""
        done = await asyncio.to_thread(self._run, args)
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    def _run(self, args: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "proxy", "review", *args, "--config", str(self.folder / "config.yaml")]
        environ = {**os.environ, **self.environ}
        return subprocess.run(
            command, cwd=Path(__file__).parents[2], env=environ, capture_output=True, text=True, check=False, timeout=60
        )

    async def item(self, wanted: Filter = Filter(), n: int = 1) -> Item:  # noqa: B008 - frozen
        """The newest item, once there are so many."""
        found: list[Item] = []
        while len(found) < n:
            found = await asyncio.to_thread(self.queue.items, wanted)
        return found[0]

    async def metrics(self) -> dict[str, float]:
        async with self.session.get(f"{self.proxy.admin_url}/metrics") as answer:
            lines = [line.rpartition(" ") for line in (await answer.text()).splitlines() if not line.startswith("#")]
            return {name: float(value) for name, _, value in lines}


def write_examples(folder: Path) -> None:
    for name in ("marker", "judged"):
        (folder / f"{name}.examples.yaml").write_text(EXAMPLES, encoding="utf-8")


def files_of(folder: Path) -> bytes:
    """All that the queue has written."""
    return b"".join(path.read_bytes() for path in folder.glob("review.db*"))


@contextmanager
def prepared(folder: Path, environ: dict[str, str], *, more: str = "", audit: str = AUDIT) -> Iterator[Proxy]:
    write_examples(folder)
    with running(CONFIG.format(more=more, audit=audit), folder, environ) as proxy:
        yield proxy


@asynccontextmanager
async def site_at(folder: Path, proxy: Proxy, environ: dict[str, str]) -> AsyncIterator[Site]:
    with closing(ReviewQueue(folder / "review.db")) as queue:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
            yield Site(folder, proxy, session, queue, environ)


@asynccontextmanager
async def site_of(folder: Path, environ: dict[str, str], **options: str) -> AsyncIterator[Site]:
    with prepared(folder, environ, **options) as proxy:
        async with site_at(folder, proxy, environ) as site:
            yield site


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, backends: dict[str, str]) -> Iterator[tuple[Path, Proxy]]:
    folder = tmp_path_factory.mktemp("review")
    with prepared(folder, backends) as proxy:
        yield folder, proxy


@pytest.fixture
async def site(shared: tuple[Path, Proxy], backends: dict[str, str], upstream: ScriptedServer) -> AsyncIterator[Site]:
    """The module's proxy, with an empty queue."""
    folder, proxy = shared
    write_examples(folder)
    with closing(sqlite3.connect(folder / "review.db", isolation_level=None)) as db:
        for table in ("items", "item_policies", "content", "said", "exemptions", "sqlite_sequence"):
            db.execute(f"DELETE FROM {table}")
    async with site_at(folder, proxy, backends) as site:
        yield site


# ------------------------------------------------------------------ from a flag to its consequences


async def test_a_flagged_chat_becomes_an_item_and_what_people_make_of_it(site: Site) -> None:
    reply = await site.ask(f"A word about {MARK}.")
    assert (reply.status, reply.decision) == (200, "flag")
    item = await site.item()
    assert (item.decision_id, item.route, item.stage, item.policies) == (
        reply.headers["x-safeguard-decision-id"],
        "default",
        "input",
        ["marker"],
    )
    assert item.flagged[0].about["score"] == 1.0

    assert MARK not in await site.command("show", "1")
    assert f"A word about {MARK}." in await site.command("show", item.decision_id, "--content")
    assert "decide it first" in await site.command("example", "1", code=2)

    await site.command("decide", "1", "overturned", "--reviewer", "kim", "--note", "A part\nnumber \u202eof ours")
    listed = await site.command("list", "--state", "overturned")
    assert "\u202e" not in listed
    assert json.loads(await site.command("list", "--json"))[0]["note"] == "A part\nnumber \u202eof ours"

    await site.command("example", "1")
    path = site.folder / "marker.examples.yaml"
    assert path.read_text(encoding="utf-8").startswith(EXAMPLES)
    added = read_example_file(path).examples[-1]
    assert (added.text, added.stage, added.violates) == (f"A word about {MARK}.", "input", False)
    assert "this content stands there already" in await site.command("example", "1", code=2)

    row = json.loads(await site.command("row", "1"))
    assert row == {"id": "review-1", "stage": "input", "text": f"A word about {MARK}.", "labels": {"marker": 0}}
    await site.command("export", "--labelled", str(site.folder / "rows.jsonl"))
    (read,) = read_rows([site.folder / "rows.jsonl"])
    assert (read.id, read.violates("marker")) == ("review-1", False)


async def test_an_exception_lets_exactly_this_content_pass_and_no_other(site: Site) -> None:
    text = f"A word about {MARK}."
    await site.ask(text)
    site.queue.decide(1, State.OVERTURNED, "kim")
    made = json.loads(await site.command("exception", "1", "--expires", "30d", "--why", "A part number", "--json"))
    while (reply := await site.ask(text)).decision == "flag":
        pass
    assert (reply.status, reply.decision) == (200, "forward")
    line = site.proxy.wait_log(lambda line: line.get("request_id") == reply.headers["x-request-id"])
    verdict = line["input"]["verdicts"][0]
    assert (verdict["excepted"], verdict["outcome"], verdict["score"]) == (str(made[0]["id"]), "forward", 1.0)
    (on_record,) = reader_of(site.folder / "audit").query(AuditFilter(decision_id=f"{line['request_id']}-input"))
    assert (on_record["action"], on_record["verdicts"][0]["excepted"]) == ("forward", verdict["excepted"])
    assert (await site.ask(text + " ")).decision == "flag"
    assert (await site.ask(f"{MARK} and pears")).status == 400
    other = await site.ask(f"{text} Also pears.")
    assert other.status == 400, "other policies still judge"
    assert (await site.metrics())['safeguard_exceptions_applied_total{policy="marker",route="default"}'] >= 1

    await site.command("exceptions", "revoke", "1", "--by", "sam")
    while (await site.ask(text)).decision == "forward":
        pass
    assert json.loads(await site.command("exceptions", "list", "--json")) == []


async def test_an_answer_that_a_guard_flagged_is_excepted_for_its_question_only(
    site: Site, upstream: ScriptedServer, guard: ScriptedServer
) -> None:
    upstream.script = replies(completion(f"Look for {MARK}."))
    assert (await site.ask("What shall I look for?", "/judged")).decision == "flag"
    item = await site.item()
    assert (item.stage, item.flagged[0].reads) == ("output", ["assistant"])
    row = json.loads((await site.command("decide", "1", "upheld")) and await site.command("row", "1"))
    assert row["messages"] == [
        {"role": "user", "content": "What shall I look for?"},
        {"role": "assistant", "content": f"Look for {MARK}."},
    ]
    await site.command("exception", "1", "--expires", "1h")
    while (await site.ask("What shall I look for?", "/judged")).decision == "flag":
        pass
    assert (await site.ask("What shall I rather look for?", "/judged")).decision == "flag"


async def test_what_a_window_flagged_is_queued_and_then_the_whole_answer(site: Site, upstream: ScriptedServer) -> None:
    upstream.script = streams(*text_stream("Buy some pears ", "and then some more ", "fruit of your choice."))
    reply = await site.ask("Hello", "/window", stream=True)
    assert reply.text == "Buy some pears and then some more fruit of your choice."
    item = await site.item()
    content = site.queue.content(item.id)
    assert content is not None
    assert [t["text"] for t in content["texts"] if t["surface"] == "assistant"] == [reply.text]


async def test_every_endpoint_that_says_flag_has_its_item(site: Site, upstream: ScriptedServer) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "/v1/moderations": {"input": [f"{MARK} one", "Nothing."]},
        "/v1/completions": {"model": "m", "prompt": f"{MARK} two"},
        "/v1/responses": {"model": "m", "input": f"{MARK} three"},
        "/v1/embeddings": {"model": "m", "input": f"{MARK} four"},
        "/beta/litellm_basic_guardrail_api": {"input_type": "request", "texts": [f"{MARK} five"], "model": "m"},
    }
    base = site.proxy.url().removesuffix("/v1")
    for path, body in bodies.items():
        reply = await post(site.session, base + path, body)
        item = (await site.item()) if path not in ("/v1/responses", "/v1/embeddings", "/v1/completions") else None
        if item is not None:
            assert (reply.decision, item.endpoint, item.policies) == ("flag", path, ["marker"])
            assert item.decision_id == reply.headers["x-safeguard-decision-id"]
    endpoints = {item.endpoint for item in site.queue.items()}
    assert endpoints == set(bodies), "what reached the upstream, or was told, is in the queue"


async def test_a_gateway_that_mounts_the_proxy_waits_too(site: Site) -> None:
    base = site.proxy.url("/held").removesuffix("/v1")
    body = {"input_type": "request", "texts": [f"{MARK}?"], "model": "m"}
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(post(site.session, f"{base}/beta/litellm_basic_guardrail_api", body))
        site.queue.decide((await site.item(Filter(held=True))).id, State.UPHELD, "kim")
    assert waiting.result().json["action"] == "BLOCKED"


@pytest.mark.parametrize("content", ["redacted", "none"])
async def test_what_is_not_to_be_kept_is_in_no_file(
    tmp_path: Path, backends: dict[str, str], upstream: ScriptedServer, content: str
) -> None:
    config = CONFIG.format(more="", audit="").replace("content: full", f"content: {content}")
    write_examples(tmp_path)
    upstream.script = replies(completion(f"Ask kim@example.com for {MARK}."))
    with running(config, tmp_path, backends) as proxy:
        async with aiohttp.ClientSession() as session:
            reply = await post(
                session, f"{proxy.url()}/chat/completions", chat_body(f"Write to sam@example.com: {MARK}")
            )
            assert reply.decision == "flag"
        with closing(ReviewQueue(tmp_path / "review.db")) as queue:
            kept = [queue.content(item.id) for item in queue.items()]
        data = files_of(tmp_path)
    assert b"@example.com" not in data
    assert MARK.encode() not in data
    assert len(kept) == 2
    shown = [
        None if k is None else [t["text"] for t in k["texts"] if t["surface"] in ("user", "assistant")] for k in kept
    ]
    expected = [["Ask <EMAIL_1> for <PATTERN_1>."], ["Write to <EMAIL_1>: <PATTERN_1>"]]
    assert shown == (expected if content == "redacted" else [None, None])


# ------------------------------------------------------------------ waiting for a reviewer


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_a_held_request_goes_on_when_a_reviewer_says_so(
    site: Site, upstream: ScriptedServer, stream: bool
) -> None:
    waiting = site.asking(f"{MARK}?", "/held", stream=stream)
    item = await site.item(Filter(held=True))
    assert upstream.received == []
    said = await site.command("decide", str(item.id), "overturned", "--reviewer", "kim")
    assert "its request waits and hears of it" in said
    reply = await waiting
    assert (reply.status, reply.decision) == (200, "forward")
    assert (await site.item()).held is Held.ANSWERED


async def test_a_held_request_is_refused_when_a_reviewer_says_so(site: Site, upstream: ScriptedServer) -> None:
    waiting = site.asking(f"{MARK}?", "/held")
    item = await site.item(Filter(held=True))
    assert (await site.metrics())["safeguard_review_held"] == 1
    site.queue.decide(item.decision_id, State.UPHELD, "kim")
    reply = await waiting
    assert (reply.status, reply.error["code"]) == (400, "content_filter")
    assert reply.error["innererror"]["policies"] == ["marker"]
    assert upstream.received == []
    line = site.proxy.wait_log(lambda line: line.get("request_id") == reply.headers["x-request-id"])
    assert line["input"]["verdicts"][0]["ruling"] == "upheld"


@pytest.mark.parametrize(("state", "status"), [(State.UPHELD, 400), (State.OVERTURNED, 200)])
async def test_what_is_flagged_only_once_it_was_rewritten_waits_too(
    site: Site, upstream: ScriptedServer, state: State, status: int
) -> None:
    waiting = site.asking(f"About {MARK}.", "/rewritten")
    item = await site.item(Filter(held=True))
    assert item.policies == ["traces"]
    assert upstream.received == []
    site.queue.decide(item.id, state, "kim")
    assert (await waiting).status == status
    assert [r.json["messages"][0]["content"] for r in upstream.received] == ["About <PATTERN_1>."] * (status == 200)


@pytest.mark.parametrize("state", ["upheld", "overturned"])
async def test_a_held_stream_hears_comments_until_it_ends_as_the_reviewer_says(
    site: Site, upstream: ScriptedServer, state: str
) -> None:
    upstream.script = streams(*text_stream("It is ", f"{MARK}."))
    url = f"{site.proxy.url('/held')}/chat/completions"
    async with site.session.post(url, json=chat_body("What is it?", stream=True)) as answer:
        heard = await answer.content.readline()
        assert heard.startswith(b":")
        item = await site.item(Filter(held=True))
        site.queue.decide(item.id, State(state), "kim")
        rest = await answer.content.read()
    assert (MARK.encode() in rest) is (state == "overturned")
    assert (b'"content_filter"' in rest) is (state == "upheld")
    assert rest.endswith(b"data: [DONE]\n\n")


async def test_what_nobody_decides_takes_on_error_and_the_record_says_so(site: Site, upstream: ScriptedServer) -> None:
    reply = await site.ask(f"{MARK}?", "/briefly")
    assert (reply.status, reply.error["code"]) == (503, "guard_unavailable")
    assert upstream.received == []
    line = site.proxy.wait_log(lambda line: line.get("request_id") == reply.headers["x-request-id"])
    assert line["input"]["verdicts"][0]["error"] == "nobody_reviewed"
    assert (await site.item()).held is Held.NOBODY
    assert (await site.ask(f"{MARK}?", "/lenient")).decision == "flag"


async def test_unsure_is_nobodys_word(site: Site, upstream: ScriptedServer) -> None:
    waiting = site.asking(f"{MARK}?", "/held")
    item = await site.item(Filter(held=True))
    site.queue.decide(item.id, State.UNSURE, "kim")
    assert (await waiting).status == 503
    assert upstream.received == []


async def test_a_client_that_leaves_ends_the_wait_and_the_item_says_so(site: Site, upstream: ScriptedServer) -> None:
    waiting = site.asking(f"{MARK}?", "/held")
    await site.item(Filter(held=True))
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    while (await site.item()).held is Held.WAITING:
        pass
    assert (await site.item()).held is Held.LEFT
    assert (await site.metrics())["safeguard_review_held"] == 0
    assert upstream.received == []


async def test_a_client_that_leaves_a_held_stream_ends_the_wait(site: Site, upstream: ScriptedServer) -> None:
    upstream.script = streams(*text_stream("It is ", f"{MARK}."))
    url = f"{site.proxy.url('/held')}/chat/completions"
    async with site.session.post(url, json=chat_body("What is it?", stream=True)) as answer:
        await answer.content.readline()
        await site.item(Filter(held=True))
        answer.close()
    while (await site.item()).held is Held.WAITING:
        pass
    assert (await site.item()).held is Held.LEFT
    assert (await site.metrics())["safeguard_review_held"] == 0


async def test_no_more_than_max_held_wait(tmp_path: Path, backends: dict[str, str], upstream: ScriptedServer) -> None:
    async with site_of(tmp_path, backends, more=", max_held: 1") as site:
        waiting = site.asking(f"{MARK} one", "/held")
        first = await site.item(Filter(held=True))
        assert (await site.ask(f"{MARK} two", "/held")).status == 503
        assert (await site.item(n=2)).held is Held.CUT
        site.queue.decide(first.id, State.OVERTURNED, "kim")
        assert (await waiting).status == 200


async def test_a_proxy_that_is_stopped_does_not_wait_for_reviewers(
    tmp_path: Path, backends: dict[str, str], upstream: ScriptedServer
) -> None:
    async with site_of(tmp_path, backends) as site:
        waiting = site.asking(f"{MARK}?", "/held")
        await site.item(Filter(held=True))
        site.proxy.signal(signal.SIGTERM)
        reply = await waiting
        assert (reply.status, reply.error["code"]) == (503, "guard_unavailable")
        await asyncio.to_thread(site.proxy.ended)
        assert (await site.item()).held is Held.CUT
        assert upstream.received == []


# ------------------------------------------------------------------ what breaks


@pytest.mark.timeout(600)
@pytest.mark.parametrize("audit", [AUDIT, ""], ids=["audit", "no audit"])
async def test_no_kill_loses_a_flagged_answer_that_a_client_has_seen(
    tmp_path: Path, backends: dict[str, str], upstream: ScriptedServer, audit: str
) -> None:
    chance = random.Random(3)
    seen: set[str] = set()
    reached: set[str] = set()

    async def asks(session: aiohttp.ClientSession, url: str) -> None:
        with suppress(aiohttp.ClientError, ConnectionError, TimeoutError):
            while True:
                body = chat_body(f"{MARK} {chance.getrandbits(64):016x}")
                async with session.post(f"{url}/chat/completions", json=body) as answer:
                    assert answer.headers["x-safeguard-decision"] == "flag"
                    seen.add(answer.headers["x-safeguard-decision-id"])

    for _ in range(KILLS):
        with prepared(tmp_path, backends, audit=audit) as proxy:
            timeout = aiohttp.ClientTimeout(total=30)
            async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
                clients = [group.create_task(asks(session, proxy.url())) for _ in range(8)]
                await asyncio.wait(clients, timeout=chance.uniform(0.05, 0.4))
                proxy.process.kill()
            await asyncio.to_thread(proxy.kill)
    with closing(ReviewQueue(tmp_path / "review.db")) as queue:
        items = queue.items(limit=1_000_000)
        kept = {t["text"] for item in items for t in (queue.content(item.id) or {"texts": ()})["texts"]}
    reached = {r.json["messages"][0]["content"] for r in upstream.received}
    assert seen <= {item.decision_id for item in items}
    assert reached <= kept, "the upstream has seen what is not in the queue"
    assert len(seen) > KILLS, "too little has happened to say anything"


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process can be set on Linux only")
async def test_a_full_disk_refuses_what_is_flagged_and_nothing_else(
    tmp_path: Path, backends: dict[str, str], upstream: ScriptedServer
) -> None:
    async with site_of(tmp_path, backends, audit="") as site:
        pid = site.proxy.process.pid
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        reply = await site.ask(f"{MARK}?")
        assert (reply.status, reply.error["code"]) == (503, "review_unavailable")
        assert upstream.received == []
        assert (await site.ask("Hello")).status == 200
        async with site.session.get(f"{site.proxy.admin_url}/readyz") as answer:
            assert answer.status == 200
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert (await site.ask(f"{MARK}?")).status == 200
        assert (await site.metrics())["safeguard_review_failed_total"] == 1


async def test_a_locked_queue_lets_nothing_flagged_go_unless_it_is_told_to(
    tmp_path: Path, backends: dict[str, str], upstream: ScriptedServer
) -> None:
    async def status(folder: Path, more: str) -> int:
        async with site_of(folder, backends, more=more) as site:
            with closing(sqlite3.connect(folder / "review.db", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                reply = await site.ask(f"{MARK}?")
                other.execute("ROLLBACK")
                return reply.status

    refuses, forwards = tmp_path / "refuses", tmp_path / "forwards"
    for folder in (refuses, forwards):
        folder.mkdir()
    told = tuple(await asyncio.gather(status(refuses, ""), status(forwards, ", on_review_error: forward")))
    assert told == (503, 200)


async def test_a_damaged_queue_is_told_at_the_start(tmp_path: Path, backends: dict[str, str]) -> None:
    (tmp_path / "review.db").write_bytes(b"no database at all, " * 500)
    with pytest.raises(AssertionError, match=r"review: .*review\.db: file is not a database"):
        async with site_of(tmp_path, backends):
            pass


async def test_without_a_queue_there_is_nothing_to_review(tmp_path: Path, backends: dict[str, str]) -> None:
    config = CONFIG.format(more="", audit="").replace("review: {content: full}", "").replace(", hold: true", "")
    config = config.replace(", hold_s: 0.1", "")
    with running(config, tmp_path, backends) as proxy:
        async with aiohttp.ClientSession() as session:
            reply = await post(session, f"{proxy.url()}/chat/completions", chat_body(f"{MARK}?"))
            assert reply.decision == "flag"
    assert not (tmp_path / "review.db").exists()
