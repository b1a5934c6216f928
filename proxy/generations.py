"""The configuration that judges what comes now, and earlier ones whose requests are not over.

A request belongs to the configuration that is current when its headers have come, to its last byte. So an earlier
configuration stays whole, with its guards and its connections, until its last request has ended, and is taken apart then.
Guards that a later configuration took over belong to all that use them, and end with the last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog
from aiohttp import web

from models import tasks
from models.engine import Engine
from proxy.gateway import Gateway
from proxy.loading.loaded import Loaded
from proxy.server import Request

log = structlog.get_logger()


@dataclass(slots=True)
class Generations:
    """Hands requests to the current configuration, and ends earlier ones.

    Attributes:
        loaded: The current configuration.
        gateway: What answers by it.
    """

    loaded: Loaded
    gateway: Gateway
    _ending: dict[Gateway, Loaded] = field(default_factory=dict)
    _tasks: dict[asyncio.Task[None], Gateway] = field(default_factory=dict)

    async def handle(self, request: Request) -> web.StreamResponse:
        """Answer one request of the data port."""
        return await self.gateway.handle(request)

    async def malformed(self) -> dict[str, str]:
        """See `proxy.gateway.Gateway.malformed`."""
        return await self.gateway.malformed()

    @property
    def n_ending(self) -> int:
        """Earlier configurations that still have requests."""
        return len(self._ending)

    def follow(self, loaded: Loaded, gateway: Gateway) -> None:
        """Have another configuration judge what comes from now on. Its guards are started already."""
        before, earlier = self.gateway, self.loaded
        self.loaded, self.gateway = loaded, gateway
        self._ending[before] = earlier
        task = tasks.own(self._end(before, earlier), name="end of a configuration")
        self._tasks[task] = before
        task.add_done_callback(self._tasks.pop)

    async def _end(self, gateway: Gateway, loaded: Loaded) -> None:
        await gateway.finish()
        del self._ending[gateway]
        kept = {id(e) for other in (self.loaded, *self._ending.values()) for e in other.engines.values()}
        await close_all(engine for engine in loaded.engines.values() if id(engine) not in kept)
        log.info("configuration_ended", configuration=loaded.configuration)

    async def close(self) -> None:
        """End all of them at once, whatever is still under way."""
        for task, gateway in self._tasks.items():
            if gateway in self._ending:  # the others are closing guards already, which is soon done
                task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks))
        for gateway in (*self._ending, self.gateway):
            await gateway.close()
        every = {id(e): e for loaded in (self.loaded, *self._ending.values()) for e in loaded.engines.values()}
        await close_all(every.values())


async def close_all(engines: Iterable[Engine]) -> None:
    """Stop guards, all at the same time."""
    await asyncio.gather(*(engine.close() for engine in engines))
