"""The configuration is changed while the real proxy serves: nothing fails, nothing is judged by a mixture, and no mistake gets in."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from proxy.audit.opening import reader_of
from proxy.audit.store import Filter
from proxy.loading.drawing import read_blueprint
from tests.end_to_end.servers import (
    DONE,
    MARK,
    Proxy,
    Received,
    ScriptedServer,
    answers_chat,
    chat_body,
    chunk,
    post,
    read_events,
    running,
)
from tests.end_to_end.test_guard_process import WEIGHTS, until
from tests.proxy.configs import head_of_gguf

pytestmark = pytest.mark.skipif(not WEIGHTS.is_file(), reason="models/weights/embedded.gguf is not here")

CONFIG = """
upstreams:
  default: {base_url: "${UPSTREAM_URL}"}
audit: {store: sqlite, path: audit}
guards:
  embedded: {engine: encoder, model: embedded, threads: 1, timeout_s: 30}
policies:
  fruit:  {file: fruit.md}
  marker: {detector: patterns, literals: ["ZQ-MARK-7781"]}
routes:
  - name: live
    match: {path: /live/v1/*}
    upstream: default
    stream: deliver_first
    output: [{policy: fruit, flag: 1.0}]
  - name: default
    upstream: default
    input:
      - {policy: marker, refuse: 0.5}
      - {policy: fruit, flag: 1.0}
"""

FRUIT = "---\nsummary: Content about fruit.\n---\nContent about fruit is a violation.\n"

EXAMPLES = """
- {{id: pears, text: "{violating}", stage: input, violates: true, canary: true}}
- {{id: rain, text: "{safe}", stage: input, violates: false, canary: true}}
"""
INSULT = "You are a stupid idiot and everybody hates you."
"""What the shipped guard takes for a violation of `HATE` and, the other way round, for a canary that cannot be passed."""
RAIN = "It rained all day long."


@dataclass(slots=True)
class Site:
    """A proxy with its configuration."""

    folder: Path
    proxy: Proxy
    session: aiohttp.ClientSession
    environ: dict[str, str]

    @property
    def path(self) -> Path:
        return self.folder / "config.yaml"

    def write(self, text: str, name: str = "config.yaml") -> str:
        """Replace a file as editors do, by rename; gives the revision that the configuration then has."""
        partial = self.folder / f"{name}.partial"
        partial.write_text(text, encoding="utf-8")
        partial.replace(self.folder / name)
        return self.revision

    @property
    def revision(self) -> str:
        return read_blueprint(self.path, self.environ).configuration

    @property
    def fruit_revision(self) -> str:
        return read_blueprint(self.path, self.environ).policies["fruit"].revision

    async def readyz(self) -> dict[str, Any]:
        async with self.session.get(f"{self.proxy.admin_url}/readyz") as response:
            body = await response.json()
            assert isinstance(body, dict)
            return body

    async def state(self) -> dict[str, Any]:
        found = (await self.readyz())["configuration"]
        assert isinstance(found, dict)
        return found

    async def ready(self) -> None:
        async def is_ready() -> bool:
            return bool((await self.readyz())["ready"])

        await until(is_ready)

    async def judges_by(self, revision: str) -> dict[str, Any]:
        """Wait until a revision judges; gives what is said of it."""

        async def current() -> dict[str, Any] | None:
            found = await self.state()
            return found if found["revision"] == revision and found["last_reload_error"] is None else None

        found = await until(current)
        assert isinstance(found, dict)
        return found

    async def refusal(self, matches: str) -> str:
        """Wait until a reload was refused, for a reason; the old configuration goes on, ready."""

        async def error() -> str:
            found = (await self.state())["last_reload_error"] or ""
            return found if re.search(matches, found) else ""

        said = str(await until(error))
        assert len(said.splitlines()) == 1
        body = await self.readyz()
        assert body["ready"]
        assert (await self.chat(RAIN)).status == 200
        assert (await self.chat(MARK)).status == 400
        return said

    async def chat(self, text: str) -> Any:
        return await post(self.session, f"{self.proxy.url()}/chat/completions", chat_body(text))

    async def pid(self, guard: str = "embedded") -> int:
        async def pid() -> int:
            found = (await self.readyz())["guards"][guard]
            return int(found["pid"]) if found["ready"] else 0

        return int(await until(pid))

    async def metric(self, sample: str) -> float:
        async with self.session.get(f"{self.proxy.admin_url}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        return float(next(line.rsplit(" ", 1)[1] for line in lines if line.startswith(f"{sample} ")))


@pytest.fixture
async def site(
    tmp_path: Path, backends: dict[str, str], upstream: ScriptedServer, session: aiohttp.ClientSession
) -> AsyncIterator[Site]:
    async with serving(tmp_path, backends, session) as site:
        yield site


@asynccontextmanager
async def serving(folder: Path, environ: dict[str, str], session: aiohttp.ClientSession) -> AsyncIterator[Site]:
    (folder / "fruit.md").write_text(FRUIT, encoding="utf-8")
    with running(CONFIG, folder, environ) as proxy:
        site = Site(folder, proxy, session, environ)
        await site.ready()
        yield site


# ------------------------------------------------------------------ what changes


@dataclass(slots=True)
class Traffic:
    """Clients that never pause, and what they know of each answer."""

    site: Site
    seen: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By request: the revisions that judged just before it was sent, and just after it was answered."""
    statuses: set[int] = field(default_factory=set)
    stopped: bool = False

    async def client(self, number: int) -> None:
        i = 0
        while not self.stopped:
            i += 1
            before = (await self.site.state())["revision"]
            reply = await self.site.chat(f"Client {number} says for the {i}. time: {RAIN}")
            self.statuses.add(reply.status)
            self.seen[reply.headers["x-request-id"]] = (before, (await self.site.state())["revision"])

    async def has_flowed(self, n: int = 5) -> None:
        """Wait until so many more answers came."""
        target = len(self.seen) + n

        async def flowed() -> bool:
            return len(self.seen) >= target

        await until(flowed)


async def test_edits_under_traffic_fail_nothing_and_every_record_names_what_judged(site: Site) -> None:
    pid = await site.pid()
    traffic = Traffic(site)
    order, policies = [site.revision], {site.revision: site.fruit_revision}
    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(traffic.client(number))
        for i in range(4):
            await traffic.has_flowed()
            if i % 2:
                revision = site.write(FRUIT.replace("fruit is", f"fruit, of kind {i}, is"), "fruit.md")
            else:
                revision = site.write(CONFIG.replace("flag: 1.0", f"flag: 0.99{i}"))
            order.append(revision)
            policies[revision] = site.fruit_revision
            await site.judges_by(revision)
        await traffic.has_flowed()
        traffic.stopped = True
    assert traffic.statuses == {200}
    assert len(set(order)) == 5
    assert len(set(policies.values())) == 3
    assert await site.pid() == pid, "the guard was started anew"
    reader = reader_of(site.folder / "audit")
    records = [r for r in reader.query(Filter(stage="input")) if r["request_id"] in traffic.seen]
    assert len(records) == len(traffic.seen)
    for record in records:
        before, after = traffic.seen[record["request_id"]]
        assert order.index(before) <= order.index(record["configuration"]) <= order.index(after)
        judged_by = {v["policy"]: v["revision"] for v in record["verdicts"]}
        assert judged_by["fruit"] == policies[record["configuration"]]
    assert {record["configuration"] for record in records} == set(order)
    for revision in policies.values():
        assert [kept.name for kept in reader.policies(revision)] == ["fruit"]
    assert await site.metric('safeguard_reloads_total{outcome="taken"}') == 4
    assert await site.metric(f'safeguard_configuration_info{{revision="{order[-1]}"}}') == 1


async def test_fifty_requests_a_second_flow_while_a_policy_is_edited(site: Site) -> None:
    order, policies, judging = [site.revision], {site.revision: site.fruit_revision}, 0
    statuses: set[int] = set()
    seen: dict[str, tuple[int, int]] = {}

    async def request(number: int) -> None:
        before = judging
        reply = await site.chat(f"{number} hours ago: {RAIN}")
        statuses.add(reply.status)
        seen[reply.headers["x-request-id"]] = (before, len(order) - 1)

    async def edit() -> None:
        nonlocal judging
        for i in range(1, 5):
            await asyncio.sleep(0.8)
            order.append(site.write(FRUIT.replace("fruit is", f"fruit, of kind {i}, is"), "fruit.md"))
            policies[order[-1]] = site.fruit_revision
            await site.judges_by(order[-1])
            judging = i

    began = asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as group:
        editing = group.create_task(edit())
        number = 0
        while not editing.done() or number % 50:
            group.create_task(request(number))
            number += 1
            await asyncio.sleep(began + number / 50 - asyncio.get_running_loop().time())
    assert statuses == {200}
    assert len(seen) == number
    reader = reader_of(site.folder / "audit")
    records = [record for record in reader.query(Filter(stage="input")) if record["request_id"] in seen]
    assert len(records) == number
    for record in records:
        before, after = seen[record["request_id"]]
        assert before <= order.index(record["configuration"]) <= after
        judged_by = {verdict["policy"]: verdict["revision"] for verdict in record["verdicts"]}
        assert judged_by["fruit"] == policies[record["configuration"]]
    assert {record["configuration"] for record in records} == set(order)


async def test_a_stream_ends_under_the_configuration_that_it_began_with_and_its_guard_with_it(
    site: Site, upstream: ScriptedServer
) -> None:
    finish = asyncio.Event()

    async def slow(request: web.BaseRequest, received: Received) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(chunk({"role": "assistant", "content": "It rains. "}))
        await finish.wait()
        await response.write(chunk({"content": "It rains still."}) + chunk({}, finish="stop") + DONE)
        return response

    old, old_pid = site.revision, await site.pid()
    upstream.script = slow
    url = f"{site.proxy.url('/live')}/chat/completions"
    async with site.session.post(url, json=chat_body(stream=True)) as response:
        begun = await response.content.readany()
        new = site.write(CONFIG.replace("threads: 1", "threads: 2").replace("flag: 1.0", "flag: 0.999"))
        await site.judges_by(new)
        new_pid = await site.pid()
        assert new_pid != old_pid
        os.kill(old_pid, 0)  # the stream will need it
        assert await site.metric("safeguard_configurations_ending") == 1
        upstream.loop.call_soon_threadsafe(finish.set)
        begun += await response.read()
        request_id = response.headers["x-request-id"]
    assert read_events(begun)[-1] is None
    assert b"still" in begun
    site.proxy.wait_log(lambda line: line["event"] == "configuration_ended" and line["configuration"] == old)
    with pytest.raises(ProcessLookupError):
        os.kill(old_pid, 0)
    assert await site.pid() == new_pid
    [record] = [
        r for r in reader_of(site.folder / "audit").query(Filter(stage="output")) if r["request_id"] == request_id
    ]
    assert record["configuration"] == old
    assert [(v["thresholds"], v.get("error")) for v in record["verdicts"]] == [({"flag": 1.0}, None)]


async def test_rules_that_change_hold_for_the_next_request(site: Site) -> None:
    assert (await site.chat("An umbrella")).status == 200
    await site.judges_by(site.write(CONFIG.replace("ZQ-MARK-7781", "umbrella")))
    assert (await site.chat("An umbrella")).status == 400
    assert (await site.chat(MARK)).status == 200
    await site.judges_by(site.write(CONFIG))
    assert (await site.chat(MARK)).status == 400


async def test_a_hangup_reads_the_configuration_again_and_ends_nothing(site: Site) -> None:
    assert (await site.state())["last_reload_at"] is None
    site.proxy.signal(signal.SIGHUP)
    site.proxy.wait_log(lambda line: line["event"] == "reload_unchanged")
    assert (await site.state())["last_reload_at"] is not None
    assert await site.metric('safeguard_reloads_total{outcome="unchanged"}') == 1
    assert (await site.chat(RAIN)).status == 200


async def test_fifty_quick_edits_end_with_the_last_one(site: Site) -> None:
    pid, last = await site.pid(), ""
    for i in range(50):
        last = site.write(CONFIG.replace("flag: 1.0", f"flag: 0.9{i:02}"))
        if i % 10 == 0:
            site.proxy.signal(signal.SIGHUP)
        await site.chat(RAIN)
    await site.judges_by(last)
    assert await site.pid() == pid
    assert await site.metric("safeguard_configurations_ending") == 0


async def test_a_link_that_is_turned_is_noticed(
    tmp_path: Path, backends: dict[str, str], upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    """As Kubernetes replaces the files of a ConfigMap: they are links through a folder that is a link."""
    for version, flag in (("v1", "1.0"), ("v2", "0.5")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "fruit.md").write_text(FRUIT.replace("Content", f"({version}) Content"), encoding="utf-8")
        (tmp_path / version / "config.yaml").write_text(CONFIG.replace("flag: 1.0", f"flag: {flag}"), encoding="utf-8")
    (tmp_path / "..data").symlink_to("v1")
    for name in ("fruit.md", "config.yaml"):
        (tmp_path / name).symlink_to(Path("..data") / name)
    with running(CONFIG, tmp_path, backends) as proxy:
        site = Site(tmp_path, proxy, session, backends)
        await site.ready()
        first = site.revision
        (tmp_path / "..new").symlink_to("v2")
        (tmp_path / "..new").replace(tmp_path / "..data")
        assert site.revision != first
        await site.judges_by(site.revision)


# ------------------------------------------------------------------ what is kept out


def _gone(path: Path) -> None:
    path.unlink()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _not_text(path: Path) -> None:
    path.write_bytes(b"routes: \xff\xfe")


def _huge(path: Path) -> None:
    path.write_bytes(b"# " + b"x" * 100_000_000)


def _half(path: Path) -> None:
    path.write_text(CONFIG[: len(CONFIG) // 2], encoding="utf-8")


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def says(old: str, new: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        assert old in CONFIG
        path.write_text(CONFIG.replace(old, new), encoding="utf-8")

    return write


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "deleted": (_gone, r"config\.yaml: cannot read the configuration: No such file"),
    "a-folder": (_folder, r"config\.yaml: .*(directory|not a file)"),
    "a-pipe": (_pipe, r"config\.yaml: .*not a file"),
    "a-loop": (_loop, r"config\.yaml: cannot read the configuration"),
    "not-utf-8": (_not_text, r"config\.yaml: not UTF-8"),
    "100-mb": (_huge, r"config\.yaml: has 100000002 bytes"),
    "half-written": (_half, r"config\.yaml:\d+: "),
    "not-yaml": (says("policies:", "policies: ["), r"config\.yaml:\d+: not valid YAML"),
    "unknown-key": (says("stream: deliver_first", "streams: window"), r"config\.yaml:\d+: routes.*unknown key"),
    "unset-variable": (says("${UPSTREAM_URL}", "${NOBODY_SETS_THIS}"), r"config\.yaml:3: .*NOBODY_SETS_THIS is not set"),
    "no-such-policy": (says("fruit.md", "pears.md"), r"config\.yaml:8: policies\.fruit\.file: no such file: pears\.md"),
    "no-such-model": (says("model: embedded", "model: nowhere.gguf"), r"config\.yaml:6: guards\.embedded\.model"),
    "listen": (says("audit: {", "listen: {host: 127.0.0.2}\naudit: {"), r"config\.yaml:4: listen\.host: .* restart"),
    "admin": (
        says("audit: {", "admin: {token_env: TOKEN}\naudit: {"),
        r"config\.yaml:4: admin\.token_env: .* restart",
    ),
    "audit-store": (says("sqlite", "jsonl"), r"config\.yaml:4: audit\.store: .* restart"),
    "audit-gone": (says("audit: {store: sqlite, path: audit}", ""), r"config\.yaml:\d+: audit: .* restart"),
}  # fmt: skip


async def test_no_mistake_gets_in_and_each_is_said(site: Site) -> None:
    revision, pid = site.revision, await site.pid()
    for number, (name, (spoil, expected)) in enumerate(REFUSED.items(), 1):
        spoil(site.path)
        site.proxy.signal(signal.SIGHUP)  # faster than waiting for it to be noticed
        said = await site.refusal(expected)
        assert (await site.state())["revision"] == revision, name
        site.proxy.wait_log(lambda line, said=said: line["event"] == "reload_refused" and line["error"] == said)  # type: ignore[misc]
        assert await site.metric("safeguard_reload_refused") == 1
        if site.path.is_dir():
            shutil.rmtree(site.path)
        site.write(CONFIG)
        site.proxy.signal(signal.SIGHUP)
        await site.judges_by(revision)
        assert await site.metric("safeguard_reload_refused") == 0
        assert await site.metric('safeguard_reloads_total{outcome="unchanged"}') == number
    assert await site.pid() == pid


async def test_a_policy_file_that_is_gone_or_unreadable_is_said_and_one_that_comes_is_noticed(site: Site) -> None:
    revision = site.revision
    (site.folder / "fruit.md").unlink()
    await site.refusal(r"config\.yaml:8: policies\.fruit\.file: no such file: fruit\.md")
    site.write(FRUIT, "fruit.md")
    await site.judges_by(revision)
    (site.folder / "fruit.md").write_bytes(b"Content about \xff fruit.")
    await site.refusal(r"config\.yaml:8: policies\.fruit\.file: cannot read fruit\.md")
    site.write(FRUIT, "fruit.md")
    await site.judges_by(revision)
    site.path.write_text(CONFIG.replace("fruit.md", "pears.md"), encoding="utf-8")
    await site.refusal(r"no such file: pears\.md")
    await site.judges_by(site.write(FRUIT.replace("fruit", "pears"), "pears.md"))


async def test_a_policys_own_file_is_not_replaced_by_the_shipped_one_because_it_has_gone(site: Site) -> None:
    site.write("Content about other people's birthdays.", "hate.md")
    local = site.write(CONFIG.replace("fruit.md", "hate.md"))
    await site.judges_by(local)
    (site.folder / "hate.md").unlink()
    await site.refusal(r"policies\.fruit\.file: .*hate\.md is gone, and .*hate\.md would be read in its place")
    assert (await site.state())["revision"] == local


HATE = CONFIG.replace("fruit:  {file: fruit.md}", "fruit:  {file: fruit.md, category: hate}")


async def test_a_policy_whose_canaries_fail_is_kept_out_and_the_running_guard_goes_on(site: Site) -> None:
    pid = await site.pid()
    site.write(EXAMPLES.format(violating=INSULT, safe=RAIN), "fruit.examples.yaml")
    good = site.write(HATE)
    await site.judges_by(good)
    assert await site.pid() == pid
    site.write(EXAMPLES.format(violating=RAIN, safe=INSULT), "fruit.examples.yaml")
    said = await site.refusal(r"config\.yaml:6: guards\.embedded: guard embedded failed its canaries: policy fruit")
    assert RAIN not in said
    assert (await site.state())["revision"] == good
    assert await site.pid() == pid
    assert site.write(EXAMPLES.format(violating=INSULT, safe=RAIN), "fruit.examples.yaml") == good
    await site.judges_by(good)


async def test_a_guard_that_does_not_get_ready_is_ended_and_the_old_one_goes_on(site: Site) -> None:
    pid = await site.pid()
    broken = site.folder / "broken.gguf"
    broken.write_bytes(b"no model")
    text = CONFIG.replace("model: embedded", "model: broken.gguf")
    site.path.write_text(text, encoding="utf-8")
    await site.refusal(r"config\.yaml:6: guards\.embedded\.model: .*broken\.gguf: not a GGUF file")
    broken.write_text(head_of_gguf("bert"))
    site.path.write_text(text + "# again\n", encoding="utf-8")
    await site.refusal(r"config\.yaml:6: guards\.embedded: not ready: ")
    assert await site.pid() == pid
    assert children(site.proxy.process.pid) == [pid]


async def test_a_stop_in_the_middle_of_a_reload_leaves_nothing_behind(site: Site) -> None:
    pid = await site.pid()
    site.path.write_text(CONFIG.replace("threads: 1", "threads: 2"), encoding="utf-8")

    async def two() -> bool:
        return len(children(site.proxy.process.pid)) == 2

    await until(two)
    pids = children(site.proxy.process.pid)
    assert pid in pids
    site.proxy.stop()
    for each in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(each, 0)


def children(pid: int) -> list[int]:
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in _children(task)]


def _children(task: Path) -> Iterator[str]:
    yield from (task / "children").read_text().split()


async def test_an_upstreams_answer_reaches_a_client_across_a_reload(site: Site, upstream: ScriptedServer) -> None:
    release = asyncio.Event()

    async def waits(request: web.BaseRequest, received: Received) -> web.StreamResponse:
        await release.wait()
        return await answers_chat(request, received)

    upstream.script = waits
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(site.chat(RAIN))
        await asyncio.to_thread(upstream.wait_received, 1)
        await site.judges_by(site.write(CONFIG.replace('"${UPSTREAM_URL}"', '"${DOWN_URL}"')))
        upstream.loop.call_soon_threadsafe(release.set)
    assert answer.result().status == 200
    assert (await site.chat(RAIN)).status == 502
