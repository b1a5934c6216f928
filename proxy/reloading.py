"""The configuration is changed while the proxy serves: it is watched, read again, tried out, and only then takes over.

::

    a file has changed and is at rest, or SIGHUP
        ▼
    read and check all of it (in a thread)
        ▼
    guards:  the same as now ──▶ taken over; asked about the canaries of policies that are new
             another, or new ──▶ started beside the old ones; must get ready
        ▼
    the audit keeps the texts of the policies
        ▼
    the new configuration judges what comes now; the old one ends with its last request (`proxy.generations`)

Whatever fails on the way, the old configuration goes on as if nothing had been tried, and the log and ``/readyz`` say why.
What failed for a reason that is in no file (a guard, a disk) is tried again by itself. A change that comes while an attempt
is under way ends it and begins another one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from models import tasks
from models.engine import Engine
from models.errors import EngineError
from proxy.audit.audit import Audit
from proxy.audit.opening import policy_texts
from proxy.audit.store import AuditError
from proxy.config import Config, Section
from proxy.config_error import ConfigError
from proxy.generations import close_all
from proxy.loading.blueprint import Blueprint
from proxy.loading.loaded import Loaded
from proxy.reload_record import Outcome, ReloadRecord
from proxy.watching import Watch, signature, snapshot

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Waits:
    """All in seconds; tests shorten them."""

    look_s: float = 0.5
    """Between two looks at the files; a change that looks the same twice is read."""
    ready_s: float = 600.0
    """How long a guard may take to be ready; a 120b model takes minutes to load from a slow disk."""
    first_retry_s: float = 30.0
    longest_retry_s: float = 900.0


class NotNow(ConfigError):
    """What is wrong is in no file: trying again may help."""


_RESTART = "cannot change while the proxy runs: restart it, or put the old value back"

_FOLLOWS = {"audit": frozenset({"content"}), "review": frozenset({"content", "hold_s"})}
"""Keys that belong to the configuration that judges; all others of these sections to the store, which is opened once."""


@dataclass(slots=True)
class Reloader:
    """Watches a configuration and has it take over when it has changed.

    Attributes:
        path: The configuration file, for messages.
        read: Reads and checks the whole configuration; may block, may raise `ConfigError`.
        current: Gives the configuration that judges now.
        take: Has another one take over.
        audit: What has to know its policies before.
        record: What came of it.
    """

    path: Path
    read: Callable[[], Blueprint]
    current: Callable[[], Loaded]
    take: Callable[[Loaded], None]
    audit: Audit | None = None
    record: ReloadRecord = field(default_factory=ReloadRecord)
    waits: Waits = field(default_factory=Waits)
    _asked: asyncio.Event = field(default_factory=asyncio.Event)
    _retry_at: float | None = None
    _retry_s: float = 0.0

    def ask(self) -> None:
        """Read the configuration again now, changed or not."""
        self._asked.set()

    async def run(self, watch: Watch) -> None:
        """Watch until cancelled."""
        attempt: asyncio.Task[None] | None = None
        try:
            while True:
                if not await self._is_due(watch):
                    continue
                await tasks.end(attempt)
                attempt = tasks.own(self._attempt(watch), name="reload")
        finally:
            await tasks.end(attempt)

    async def _is_due(self, watch: Watch) -> bool:
        """Wait for a moment, and say whether there is something to read."""
        try:
            async with asyncio.timeout(self.waits.look_s):
                await self._asked.wait()
        except TimeoutError:
            pass
        seen = await asyncio.to_thread(snapshot, watch.paths)  # a network's disk can be slow to answer
        has_news = watch.look(seen) or self._asked.is_set()
        if not has_news and not self._is_time_to_retry():
            return False
        if has_news:
            self._retry_s = 0.0
        self._asked.clear()
        self._retry_at = None
        watch.took(seen)
        return True

    def _is_time_to_retry(self) -> bool:
        return self._retry_at is not None and time.monotonic() >= self._retry_at

    async def _attempt(self, watch: Watch) -> None:
        started = time.monotonic()
        try:
            blueprint = await asyncio.to_thread(self._read_again)
            files = blueprint.files
            if await asyncio.to_thread(snapshot, files) != files:
                watch.took(files)  # and it is seen that they look different now
                return
            watch.took(files)
            outcome = await self.reload(blueprint)
        except ConfigError as error:
            if error.files is not None:  # what is wrong may be mended in a file that only the new configuration names
                watch.took({**watch.read, **error.files})
            self._refused(str(error), again=isinstance(error, NotNow))
        except Exception as error:  # a mistake of ours must not end the watch
            log.exception("reload_failed", error=type(error).__name__)
            self._refused(f"{self.path}: internal error: {type(error).__name__}", again=False)
        else:
            self.record.note(outcome)
            self._retry_s = 0.0
            now = self.current()
            log.info(
                "reloaded" if outcome is Outcome.TAKEN else "reload_unchanged",
                configuration=now.configuration,
                policy_set=now.revision,
                seconds=round(time.monotonic() - started, 3),
            )

    def _read_again(self) -> Blueprint:
        seen = signature(self.path)
        if seen is not None and not seen.is_file:
            raise ConfigError(f"{self.path}: is not a file that can be read again")
        return self.read()

    def _refused(self, error: str, *, again: bool) -> None:
        self.record.note(Outcome.REFUSED, error)
        log.error("reload_refused", error=error, configuration=self.current().configuration)
        self._retry_s = min(2 * self._retry_s or self.waits.first_retry_s, self.waits.longest_retry_s) if again else 0.0
        self._retry_at = time.monotonic() + self._retry_s if again else None

    async def reload(self, blueprint: Blueprint) -> Outcome:
        """Have a configuration take over, if all that it needs is there.

        Raises:
            ConfigError: It cannot. Nothing has changed.
        """
        current = self.current()
        check_fixed(current.config, blueprint)
        check_policy_files(current, blueprint)
        if blueprint.configuration == current.configuration and blueprint.guards == current.guards:
            for engine in current.engines.values():
                await engine.start()  # one that has failed for good tries again
            return Outcome.UNCHANGED
        kept, fresh = await self._choose(blueprint, current)
        try:
            await self._get_ready(blueprint, kept, fresh)
            loaded = blueprint.build({**kept, **fresh})
            await self._keep_policies(blueprint, loaded)
            self.take(loaded)
        except BaseException:
            await close_all(fresh.values())
            raise
        for name, engine in kept.items():
            engine.adopt(blueprint.guards[name])
        return Outcome.TAKEN

    async def _choose(self, blueprint: Blueprint, current: Loaded) -> tuple[Mapping[str, Engine], Mapping[str, Engine]]:
        """Which guards are taken over, and those that are made anew.

        A guard that is not ready is not asked about other canaries: it may be because of its old ones that it is not.
        """
        kept: dict[str, Engine] = {}
        for name, plan in blueprint.guards.items():
            running, now = current.engines.get(name), current.guards.get(name)
            if running is None or now is None or not plan.is_met_by(now):
                if now is not None and plan.files != now.files:
                    log.warning("model_files_changed", guard=name, hint="it is loaded anew beside the one that runs")
                continue
            if set(plan.canaries) <= set(now.canaries) or await running.wait_ready(self.waits.ready_s):
                kept[name] = running
        return kept, {name: blueprint.engine(name) for name in blueprint.guards if name not in kept}

    async def _get_ready(self, blueprint: Blueprint, kept: Mapping[str, Engine], fresh: Mapping[str, Engine]) -> None:
        async def start(name: str, engine: Engine) -> None:
            await engine.start()
            if not await engine.wait_ready(self.waits.ready_s):
                raise not_now(blueprint, name, f"not ready: {engine.last_error}")

        async def prepare(name: str, engine: Engine) -> None:
            await engine.start()
            try:
                await engine.prepare(blueprint.guards[name])
            except EngineError as error:
                raise not_now(blueprint, name, str(error)) from None

        try:
            async with asyncio.TaskGroup() as group:
                for name, engine in fresh.items():
                    group.create_task(start(name, engine))
                for name, engine in kept.items():
                    group.create_task(prepare(name, engine))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _keep_policies(self, blueprint: Blueprint, loaded: Loaded) -> None:
        if self.audit is None:
            return
        try:
            await self.audit.keep_policies(policy_texts(loaded))
        except AuditError as error:
            if self.audit.must:
                raise NotNow(str(blueprint.error(("audit",), f"the policies cannot be kept: {error}"))) from None
            log.error("policies_not_kept", error=str(error))


def not_now(blueprint: Blueprint, guard: str, reason: str) -> NotNow:
    """A complaint about a guard that may work another time."""
    return NotNow(str(blueprint.error(("guards", guard), reason)))


def check_fixed(config: Config, blueprint: Blueprint) -> None:
    """Whether all is as it was that was bound or opened once.

    Raises:
        ConfigError: A key has changed that cannot; names it.
    """
    sections: dict[str, tuple[Section | None, Section | None]] = {
        "listen": (config.listen, blueprint.config.listen),
        "admin": (config.admin, blueprint.config.admin),
        "audit": (config.audit, blueprint.config.audit),
        "review": (config.review, blueprint.config.review),
    }
    for name, (now, then) in sections.items():
        if now is None or then is None:
            if now is not then:
                raise blueprint.error((name,), _RESTART)
            continue
        for key in type(now).model_fields:
            if getattr(now, key) != getattr(then, key) and key not in _FOLLOWS.get(name, ()):
                raise blueprint.error((name, key), _RESTART)


def check_policy_files(current: Loaded, blueprint: Blueprint) -> None:
    """Whether no policy's text has gone and would be replaced by another one, which has the same name by chance.

    Raises:
        ConfigError: One has.
    """
    for name, now in current.policy_files.items():
        then, entry = blueprint.policy_files.get(name), blueprint.config.policies.get(name)
        same_entry = entry is not None and entry == current.config.policies.get(name)
        if then is not None and then != now and same_entry and not now.is_file():
            raise blueprint.error(("policies", name, "file"), f"{now} is gone, and {then} would be read in its place")
