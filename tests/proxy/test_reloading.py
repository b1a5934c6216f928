"""Whether a configuration takes over, with guards that play a script."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from models import tasks
from models.canaries import CanaryFailed
from models.engine import Canary, Engine
from models.specs import GuardPlan, GuardSpec
from proxy.app import App, build_app
from proxy.config_error import ConfigError
from proxy.loading.blueprint import Blueprint
from proxy.loading.drawing import read_blueprint
from proxy.reload_record import Outcome
from proxy.reloading import Reloader, Waits
from proxy.watching import Snapshot, Watch, snapshot
from tests.fakes import FakeEngine
from tests.proxy.configs import head_of_gguf

CONFIG = """\
upstreams:
  default: {base_url: demo}
guards:
  first: {engine: openai, base_url: "http://127.0.0.1:9/v1", model: m}
policies:
  fruit: {text: "Content about fruit.", examples: fruit.yaml}
routes:
  - {name: one, upstream: default, input: [{policy: fruit, refuse: 0.9}]}
"""
EXAMPLES = """\
- {text: "A pear.", stage: input, violates: true}
- {text: "Rain.", stage: input, violates: false}
"""


@dataclass(slots=True)
class Guard(FakeEngine):
    """A guard that remembers what became of it."""

    spec: GuardSpec | None = None
    canaries: list[str] = field(default_factory=list)
    life: list[str] = field(default_factory=list)
    unfit_for: str = ""
    gate: asyncio.Event | None = None

    async def start(self) -> None:
        self.life.append("started")

    async def wait_ready(self, timeout_s: float) -> bool:
        if self.gate is not None:
            await self.gate.wait()
        return self.ready

    async def close(self) -> None:
        self.life.append("closed")

    async def prepare(self, plan: GuardPlan) -> None:
        if any(self.unfit_for and self.unfit_for in canary.violating.text for canary in plan.canaries):
            raise CanaryFailed("guard failed its canaries")

    def adopt(self, plan: GuardPlan) -> None:
        self.canaries = [canary.violating.text for canary in plan.canaries]
        self.life.append("adopted")


@dataclass(slots=True)
class Site:
    """A configuration that is served, nearly."""

    folder: Path
    built: list[Guard] = field(default_factory=list)
    make: Callable[[], Guard] = Guard
    environ: dict[str, str] = field(default_factory=dict)
    app: App = field(init=False)

    def begin(self) -> None:
        self.write(CONFIG)
        self.write(EXAMPLES, "fruit.yaml")
        blueprint = self.read()
        engines = {name: blueprint.engine(name) for name in blueprint.guards}
        self.app = build_app(blueprint.build(engines), self.path, self.read)
        self.reloader.waits = Waits(look_s=0.001, first_retry_s=0.0)

    @property
    def path(self) -> Path:
        return self.folder / "c.yaml"

    @property
    def reloader(self) -> Reloader:
        assert self.app.reloader is not None
        return self.app.reloader

    def read(self) -> Blueprint:
        return read_blueprint(self.path, self.environ)

    def write(self, text: str, name: str = "c.yaml") -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    async def reload(self, text: str | None = None) -> Outcome:
        if text is not None:
            self.write(text)
        return await self.reloader.reload(self.read())

    @property
    def lives(self) -> list[list[str]]:
        return [guard.life for guard in self.built]


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    site = Site(tmp_path)

    def build(spec: GuardSpec, *, canaries: Sequence[Canary], cache_entries: int) -> Engine:
        guard = site.make()
        guard.spec, guard.canaries = spec, [canary.violating.text for canary in canaries]
        site.built.append(guard)
        return guard

    monkeypatch.setattr("proxy.loading.blueprint.build_engine", build)
    site.begin()
    return site


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what it asks for sets no event
            await asyncio.sleep(0)


async def ended(site: Site) -> None:
    """Wait until earlier configurations were taken apart."""
    await until(lambda: not site.app.serving.n_ending and not site.app.serving._tasks)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("refuse: 0.9", "refuse: 0.8", id="threshold"),
        pytest.param("about fruit", "about all fruit", id="policy"),
        pytest.param("name: one", "name: two", id="route"),
        pytest.param("model: m}", "model: m, canaries: false}", id="fewer-canaries"),
    ],
)
async def test_a_guard_goes_on_when_something_else_changes(site: Site, old: str, new: str) -> None:
    before = site.app.loaded
    assert await site.reload(CONFIG.replace(old, new)) is Outcome.TAKEN
    await ended(site)
    assert site.app.loaded.configuration != before.configuration
    assert site.app.loaded.engines["first"] is site.built[0]
    assert len(site.built) == 1
    assert site.lives == [["started", "adopted"]]


async def test_a_guard_that_changes_is_started_before_and_the_old_one_ends_after(site: Site) -> None:
    assert await site.reload(CONFIG.replace("model: m", "model: other")) is Outcome.TAKEN
    await ended(site)
    assert site.app.loaded.engines["first"] is site.built[1]
    assert site.lives == [["closed"], ["started"]]


@pytest.mark.parametrize("name", ["m.gguf", "a.gguf"])
async def test_a_model_file_that_is_replaced_is_loaded_anew_beside_the_running_guard(site: Site, name: str) -> None:
    local = CONFIG.replace(
        '{engine: openai, base_url: "http://127.0.0.1:9/v1", model: m}',
        "{engine: llama, model: m.gguf, lora: a.gguf, canaries: false}",
    )
    model = head_of_gguf("gpt-oss")
    for each in ("m.gguf", "a.gguf"):
        site.write(model, each)
    await site.reload(local)
    watch = Watch(site.app.loaded.files)
    assert (await site.reload(), site.lives[-1]) == (Outcome.UNCHANGED, ["started", "started"])
    (site.folder / name).chmod(0o600)
    assert await site.reload() is Outcome.UNCHANGED
    site.write(model + "another", "beside")
    os.replace(site.folder / "beside", site.folder / name)
    seen = snapshot(watch.paths)
    assert [watch.look(seen), watch.look(seen)] == [False, True]
    assert await site.reload() is Outcome.TAKEN
    await ended(site)
    assert site.lives[-2:] == [["started", "started", "started", "closed"], ["started"]]


@pytest.mark.parametrize("name", ["m.json", "m-pair.gguf"])
async def test_what_stands_beside_an_encoder_is_a_part_of_it(site: Site, name: str) -> None:
    site.write(head_of_gguf("bert"), "m.gguf")
    site.write('{"pass_below": {"pair": 0.4}}', name)
    local = "{engine: encoder, model: m.gguf, canaries: false}"
    await site.reload(CONFIG.replace('{engine: openai, base_url: "http://127.0.0.1:9/v1", model: m}', local))
    assert await site.reload() is Outcome.UNCHANGED
    watch = Watch(site.app.loaded.files)
    site.write('{"pass_below": {"pair": 0.001}}', name)
    seen = snapshot(watch.paths)
    assert [watch.look(seen), watch.look(seen)] == [False, True]
    assert await site.reload() is Outcome.TAKEN
    await ended(site)
    assert site.lives[-2:] == [["started", "started", "closed"], ["started"]], "the old limit must not go on"


async def test_what_says_the_same_changes_nothing(site: Site) -> None:
    before = site.app.loaded
    assert await site.reload("# a comment\n" + CONFIG) is Outcome.UNCHANGED
    assert site.app.loaded is before
    assert site.lives == [["started"]], "which is how one that failed for good tries again"


async def test_a_changed_example_is_asked_about_and_holds_from_then_on(site: Site) -> None:
    site.write(EXAMPLES.replace("A pear", "A plum"), "fruit.yaml")
    assert await site.reload() is Outcome.TAKEN
    assert site.built[0].canaries == ["A plum."]


async def test_a_failed_canary_changes_nothing(site: Site) -> None:
    before = site.app.loaded
    site.built[0].unfit_for = "plum"
    site.write(EXAMPLES.replace("A pear", "A plum"), "fruit.yaml")
    with pytest.raises(ConfigError, match=r"c\.yaml:4: guards\.first: guard failed its canaries"):
        await site.reload()
    assert site.app.loaded is before
    assert site.built[0].canaries == ["A pear."]


async def test_a_new_guard_that_is_not_ready_is_ended_and_changes_nothing(site: Site) -> None:
    before = site.app.loaded
    site.make = lambda: Guard(ready=False, last_error="no such model")
    with pytest.raises(ConfigError, match=r"c\.yaml:4: guards\.first: not ready: no such model"):
        await site.reload(CONFIG.replace("model: m", "model: other"))
    assert site.app.loaded is before
    assert site.lives == [[], ["started", "closed"]]


async def test_a_guard_that_is_unfit_is_made_anew_for_other_canaries_only(site: Site) -> None:
    site.built[0].ready = False
    assert await site.reload(CONFIG.replace("refuse: 0.9", "refuse: 0.8")) is Outcome.TAKEN
    assert len(site.built) == 1
    site.write(EXAMPLES.replace("A pear", "A plum"), "fruit.yaml")
    assert await site.reload() is Outcome.TAKEN
    await ended(site)
    assert site.app.loaded.engines["first"] is site.built[1]
    assert site.lives == [["started", "adopted", "closed"], ["started"]]


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ("listen: {port: 1}", "listen.port"),
        ("admin: {}", "admin"),
        ("audit: {content: full}", "audit"),
    ],
)
async def test_what_was_bound_or_opened_once_cannot_change(site: Site, more: str, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"c\.yaml:\d+: {key}: cannot change while the proxy runs"):
        await site.reload(CONFIG + more + "\n")


async def test_what_of_the_audit_belongs_to_the_routes_can_change(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"

    def read() -> Blueprint:
        return read_blueprint(path, {})

    text = "upstreams: {d: {base_url: demo}}\nroutes: [{name: r, upstream: d}]\naudit: {content: none}\n"
    path.write_text(text)
    app = build_app(read().build({}), path, read)
    assert app.reloader is not None
    assert app.audit is not None
    await app.audit.start()
    try:
        path.write_text(text.replace("none", "full"))
        assert await app.reloader.reload(read()) is Outcome.TAKEN
        assert [route.keep for route in app.loaded.routes] == ["full"]
        path.write_text(text.replace("content: none", "keep_days: 31"))
        with pytest.raises(ConfigError, match=r"audit\.keep_days: cannot change"):
            await app.reloader.reload(read())
    finally:
        await app.close()


async def watching(site: Site, condition: Callable[[], bool], watch: Watch | None = None) -> None:
    """Watch until something holds."""
    task = tasks.own(site.reloader.run(watch or Watch(site.app.loaded.files)), name="watch")
    try:
        await until(condition)
    finally:
        await tasks.end(task)


async def test_what_changed_before_the_watch_began_is_noticed(site: Site) -> None:
    site.write(CONFIG.replace("refuse: 0.9", "refuse: 0.8"))
    record = site.reloader.record
    await watching(site, lambda: record.last is not None)
    assert (record.last, record.last_error) == (Outcome.TAKEN, None)
    assert record.last_at is not None


async def test_a_refusal_is_kept_until_an_attempt_goes_well(site: Site) -> None:
    record = site.reloader.record
    site.write("routes: [")
    await watching(site, lambda: record.last is not None)
    assert record.last is Outcome.REFUSED
    assert (record.last_error or "").startswith(f"{site.path}:1: not valid YAML")
    site.write(CONFIG)
    await watching(site, lambda: record.last is not Outcome.REFUSED)
    assert (record.last, record.last_error) == (Outcome.UNCHANGED, None)


async def test_a_guard_that_was_not_ready_is_tried_again_without_a_change(site: Site) -> None:
    record = site.reloader.record
    site.make = lambda: Guard(ready=len(site.built) == 3, last_error="busy")
    site.write(CONFIG.replace("model: m", "model: other"))
    await watching(site, lambda: record.last is Outcome.TAKEN)
    assert record.counts[Outcome.REFUSED] == 2
    await ended(site)
    assert site.lives == [["closed"], ["started", "closed"], ["started", "closed"], ["started"]]


async def test_a_mistake_in_a_file_is_not_tried_again_by_itself(site: Site) -> None:
    class Counting(Watch):
        n_looks = 0

        def look(self, seen: Snapshot) -> bool:
            self.n_looks += site.reloader.record.last is not None
            return super().look(seen)

    watch = Counting(site.app.loaded.files)
    site.write("routes: [")
    await watching(site, lambda: watch.n_looks > 10, watch)
    assert site.reloader.record.counts == {Outcome.TAKEN: 0, Outcome.REFUSED: 1, Outcome.UNCHANGED: 0}


async def test_a_later_change_ends_an_attempt_that_still_waits(site: Site) -> None:
    site.make = lambda: Guard(gate=asyncio.Event())
    site.write(CONFIG.replace("model: m", "model: second"))
    async with asyncio.TaskGroup() as group:
        group.create_task(watching(site, lambda: site.reloader.record.last is not None))
        await until(lambda: len(site.built) == 2 and site.built[1].life == ["started"])
        site.make = Guard
        site.write(CONFIG.replace("model: m", "model: third"))
    assert site.reloader.record.counts == {Outcome.TAKEN: 1, Outcome.REFUSED: 0, Outcome.UNCHANGED: 0}
    await ended(site)
    assert site.lives == [["closed"], ["started", "closed"], ["started"]]


async def test_a_mistake_of_ours_does_not_end_the_watch(site: Site) -> None:
    record, right = site.reloader.record, site.reloader.read

    def read() -> Blueprint:
        raise RuntimeError("a secret")

    site.reloader.read = read
    site.reloader.ask()
    await watching(site, lambda: record.last is not None)
    assert record.last_error == f"{site.path}: internal error: RuntimeError"
    site.reloader.read = right
    site.reloader.ask()
    await watching(site, lambda: record.last is Outcome.UNCHANGED)


async def test_files_that_change_while_they_are_read_are_read_again(site: Site) -> None:
    n_read = 0

    def read() -> Blueprint:
        nonlocal n_read
        n_read += 1
        blueprint = site.read()
        if n_read == 1:
            site.write(CONFIG.replace("refuse: 0.9", "refuse: 0.7"))
        return blueprint

    site.reloader.read = read
    site.write(CONFIG.replace("refuse: 0.9", "refuse: 0.8"))
    record = site.reloader.record
    await watching(site, lambda: record.last is not None)
    assert record.counts[Outcome.TAKEN] == 1
    assert n_read == 2
    assert [r.config.input[0].refuse for r in site.app.loaded.routes] == [0.7]
