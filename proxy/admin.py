"""The admin port: ``/healthz``, ``/readyz``, ``/metrics``, ``/console``. Never on the data port."""

from __future__ import annotations

import hmac
import math
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from proxy.attempts import Attempts
from proxy.audit.audit import Audit
from proxy.console.console import Console
from proxy.console.rendering import Pages
from proxy.console.views import Views
from proxy.loading.keys import is_loopback
from proxy.loading.loaded import Loaded
from proxy.records import Metrics
from proxy.reload_record import ReloadRecord
from proxy.review.queue import ReviewQueue
from proxy.server import Request
from proxy.strict_json import dump_json

_UNAUTHORIZED = (
    "A bearer token is needed here; without one in the configuration, ask by a loopback address or as localhost."
)
_TOO_MANY = "Too many wrong tokens have come from your address; wait a moment."


class Admin:
    """Answers the admin port."""

    def __init__(
        self,
        loaded: Loaded,
        metrics: Metrics,
        audit: Audit | None = None,
        reloads: ReloadRecord | None = None,
        queue: ReviewQueue | None = None,
        config_path: Path | None = None,
    ) -> None:
        self._loaded = loaded
        self._metrics = metrics
        self._audit = audit
        self._reloads = reloads or ReloadRecord()
        self._attempts = Attempts()
        pages = Pages()
        views = Views(lambda: self._loaded, audit, self._reloads, pages, queue, config_path)
        self._console = Console(loaded.admin_token, views, pages, self._attempts)
        self.draining = False
        """The service is being stopped: not ready any more."""

    def follow(self, loaded: Loaded) -> None:
        """Show another configuration from now on."""
        self._loaded = loaded

    async def close(self) -> None:
        """Begin to end: not ready any more, and no page waits for news."""
        self.draining = True
        await self._console.close()

    async def handle(self, request: Request) -> web.StreamResponse:
        """Answer one request."""
        path = request.target.partition("?")[0]
        given = request.headers.getall("Authorization", ()) if self._loaded.admin_token is not None else ()
        if given and (wait_s := self._attempts.wait_s(request.remote)):
            answer = _json(429, {"error": {"message": _TOO_MANY, "code": "too_many_wrong_tokens"}})
            answer.headers["Retry-After"] = str(math.ceil(wait_s))
            return answer
        allowed = self._is_allowed(request)
        if given and not allowed:
            self._attempts.failed(request.remote)
        if Console.serves(path) and (allowed or self._loaded.admin_token is not None):
            return await self._console.handle(request, has_bearer=allowed and self._loaded.admin_token is not None)
        if not allowed:
            return _json(401, {"error": {"message": _UNAUTHORIZED, "code": "unauthorized"}})
        answers = {"/healthz": self._healthz, "/readyz": self._readyz, "/metrics": self._metrics_page}
        if path not in answers:
            return _json(
                404, {"error": {"message": "Served here: /healthz, /readyz, /metrics, /console", "code": "not_found"}}
            )
        if request.method not in ("GET", "HEAD"):
            return _json(405, {"error": {"message": "Use GET.", "code": "method_not_allowed"}})
        return answers[path]()

    def _is_allowed(self, request: Request) -> bool:
        token = self._loaded.admin_token
        if token is None:  # a name that leads here may be a web page's, which a browser would let read the answer
            host = request.headers.get("Host")
            return host is None or is_loopback(_host_name(host))
        given = request.headers.getall("Authorization", ())
        return len(given) == 1 and hmac.compare_digest(
            given[0].encode(errors="surrogateescape"), f"Bearer {token}".encode()
        )

    def _healthz(self) -> web.Response:
        return _json(200, {"status": "alive"})

    def _readyz(self) -> web.Response:
        guards: dict[str, Any] = {}
        for name, engine in self._loaded.engines.items():
            guards[name] = {"ready": engine.ready, "model": engine.model}
            if engine.last_error is not None:
                guards[name]["last_error"] = engine.last_error
            pid = getattr(engine, "pid", None)
            if pid is not None:
                guards[name]["pid"] = pid
        audit = self._audit
        can_record = audit is None or audit.healthy or not audit.must
        ready = not self.draining and can_record and all(g["ready"] for g in guards.values())
        body: dict[str, Any] = {
            "ready": ready,
            "configuration": {
                "revision": self._loaded.configuration,
                "policy_set": self._loaded.revision,
                "last_reload_error": self._reloads.last_error,
                "last_reload_at": self._reloads.last_at,
            },
            "routes": {r.config.name: r.policy_set for r in self._loaded.routes},
            "guards": guards,
        }
        if audit is not None:
            body["audit"] = {"healthy": audit.healthy, "failed": audit.counts.failed}
            if audit.last_error is not None:
                body["audit"]["last_error"] = audit.last_error
        return _json(200 if ready else 503, body)

    def _metrics_page(self) -> web.Response:
        return web.Response(body=generate_latest(self._metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _json(status: int, body: dict[str, Any]) -> web.Response:
    return web.Response(status=status, body=dump_json(body), content_type="application/json")
