"""The whole service: guards, data port, admin port; started together, ended together."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from aiohttp import web

from models import tasks
from proxy.admin import Admin
from proxy.audit.audit import Audit
from proxy.audit.metrics import AuditMetrics
from proxy.audit.opening import audit_of, policy_texts
from proxy.gateway import Gateway
from proxy.generations import Generations
from proxy.guard_metrics import GuardMetrics
from proxy.loading.blueprint import Blueprint
from proxy.loading.keys import is_loopback
from proxy.loading.loaded import Loaded
from proxy.logs import LoopErrors
from proxy.records import Metrics
from proxy.reload_record import ReloadMetrics, ReloadRecord
from proxy.reloading import Reloader
from proxy.review.metrics import ReviewMetrics
from proxy.review.queue import ReviewQueue
from proxy.review.review import Review, review_of
from proxy.server import Server
from proxy.unreachable_routes import unreachable_routes
from proxy.watching import Watch

log = structlog.get_logger()

GC_THRESHOLD = 10_000
"""Objects made and not yet freed before the collector looks for cycles: some ten requests' worth, not every other one's."""

DRAIN_S = 25.0
"""After SIGTERM, answers under way may take this long; then what they wait for is ended, so that they end with an error.

With `CUT_S` it stays below the 30 seconds after which Kubernetes kills."""

CUT_S = 2.0
"""How long the errors of answers that were ended may take to be sent."""


@dataclass(slots=True)
class App:
    """A configured service that can be started and stopped; see `build_app`."""

    serving: Generations
    admin: Admin
    metrics: Metrics
    audit: Audit | None = None
    review: Review | None = None
    reloader: Reloader | None = None
    """What watches the configuration; None: nobody does."""
    _watching: asyncio.Task[None] | None = None
    _runners: list[web.ServerRunner] = field(default_factory=list)
    port: int = 0
    """The data port that was bound, once started."""
    admin_port: int = 0
    """The admin port that was bound, once started; 0 without one."""

    @property
    def loaded(self) -> Loaded:
        """The configuration that judges now."""
        return self.serving.loaded

    def take(self, loaded: Loaded) -> None:
        """Have another configuration judge what comes from now on; its guards are ready, its policies are kept."""
        self.serving.follow(loaded, Gateway(loaded, self.metrics, self.audit, self.review))
        self.admin.follow(loaded)
        _warn(loaded)

    async def start(self) -> None:
        """Bind both ports and begin to load the guards; requests are answered at once, judged when the guards can.

        Raises:
            OSError: A port cannot be bound; says which.
            AuditError: The audit cannot be written.
            ReviewError: The review queue cannot be used.
        """
        listen = self.loaded.config.listen
        if self.review is not None:
            await self.review.start()
        if self.audit is not None:
            await self.audit.start(policy_texts(self.loaded))
        try:
            data = Server(self.serving.handle, self.serving.malformed)
            self.port = await self._bind(data, "listen", listen.host, listen.port)
            if self.loaded.config.admin is not None:
                at = self.loaded.config.admin
                self.admin_port = await self._bind(Server(self.admin.handle), "admin", at.host, at.port)
        except OSError:
            await self.close()
            raise
        for engine in self.loaded.engines.values():
            await engine.start()
        if self.reloader is not None:
            self._watching = tasks.own(self.reloader.run(Watch(self.loaded.files)), name="watch")
        if not is_loopback(listen.host):
            log.warning("open_port", host=listen.host, hint="everybody who reaches this address can use the upstreams")
        _warn(self.loaded)

    async def _bind(self, server: Server, section: str, host: str, port: int) -> int:
        # aiohttp waits for answers twice as long: once to let them end, once more before it cuts their connections
        runner = web.ServerRunner(server, shutdown_timeout=(DRAIN_S + CUT_S) / 2)
        await runner.setup()
        self._runners.append(runner)
        site = web.TCPSite(runner, host, port, backlog=1024)
        try:
            await site.start()
        except OSError as e:  # a name that is not known has an error number of its own
            reason = os.strerror(e.errno) if e.errno and e.errno > 0 else e.strerror or e
            raise OSError(e.errno, f"{section}: cannot bind {host}:{port}: {reason}") from None
        address = runner.addresses[0]
        return int(address[1])

    async def wait_ready(self, timeout_s: float) -> bool:
        """Wait for all guards; whether all are ready."""
        results = await asyncio.gather(*(e.wait_ready(timeout_s) for e in self.loaded.engines.values()))
        return all(results)

    async def close(self) -> None:
        """Stop listening, let answers under way finish, end guards and connections."""
        await self.admin.close()
        if self.review is not None:
            self.review.end_holds()
        watching, self._watching = self._watching, None
        await tasks.end(watching)
        cut = tasks.own(self._cut(), name="drain")
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()
        await tasks.end(cut)
        await self.serving.close()
        if self.audit is not None:
            await self.audit.close()
        if self.review is not None:
            await self.review.close()

    async def _cut(self) -> None:
        """Once the time for it is over, end what answers under way still wait for: they then end by themselves."""
        await asyncio.sleep(DRAIN_S)
        log.warning("drain_over", hint="answers that are still under way end with an error")
        await self.serving.close()


def build_app(loaded: Loaded, path: Path | None = None, read: Callable[[], Blueprint] | None = None) -> App:
    """Put a service together; nothing is started.

    Args:
        loaded: The configuration to begin with.
        path: Where it stands, for messages about later ones.
        read: Reads it again, when it has changed; None: it is not watched.
    """
    metrics, record = Metrics(), ReloadRecord()
    audit, review = audit_of(loaded), review_of(loaded)
    serving = Generations(loaded, Gateway(loaded, metrics, audit, review))
    metrics.registry.register(GuardMetrics(lambda: serving.loaded.engines))
    metrics.registry.register(ReloadMetrics(record, serving))
    if audit is not None:
        metrics.registry.register(AuditMetrics(audit))
    if review is not None:
        metrics.registry.register(ReviewMetrics(review))
    # the console has a connection of its own, so that the queue's thread sees what is said there like anybody else's word
    queue = None if review is None else ReviewQueue(review.queue.path, must_exist=True)
    app = App(serving, Admin(loaded, metrics, audit, record, queue, path), metrics, audit, review)
    if read is not None and path is not None:
        app.reloader = Reloader(path, read, lambda: serving.loaded, app.take, audit, record)
    return app


def _warn(loaded: Loaded) -> None:
    for warning in unreachable_routes(loaded.config.routes):
        log.warning("route_unreachable", route=warning.route, behind=warning.behind)


async def serve(app: App) -> None:
    """Run until SIGTERM or SIGINT; a second signal ends at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(LoopErrors())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if app.reloader is not None:
        loop.add_signal_handler(signal.SIGHUP, app.reloader.ask)
    await app.start()
    gc.collect()
    gc.freeze()  # what was loaded by now stays; the collector need not look through it again under load
    gc.set_threshold(GC_THRESHOLD)
    log.info(
        "serving",
        url=f"http://{app.loaded.config.listen.host}:{app.port}/v1",
        admin=f"http://{app.loaded.config.admin.host}:{app.admin_port}" if app.loaded.config.admin else None,
        routes=[r.config.name for r in app.loaded.routes],
        guards=sorted(app.loaded.engines),
        policy_set=app.loaded.revision,
        configuration=app.loaded.configuration,
    )
    await stop.wait()
    # SIGHUP goes on being none that ends us: a terminal sends it when it is closed
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)
    log.info("stopping")
    await app.close()
