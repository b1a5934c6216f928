"""``safeguard serve``: alone in its module, because the other commands need no server, and no console."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from proxy.app import build_app
from proxy.app import serve as run_app
from proxy.audit.store import AuditError
from proxy.config import Admin, Section
from proxy.config_error import ConfigError
from proxy.loading.blueprint import Blueprint
from proxy.loading.drawing import read_blueprint
from proxy.logs import configure_logs
from proxy.review.item import ReviewError

S = TypeVar("S", bound=Section)


def serve(path: Path, args: argparse.Namespace) -> int:
    """``safeguard serve``."""
    configure_logs(level=args.log_level)

    def read() -> Blueprint:
        return _with_options(read_blueprint(path), args)

    loaded = read().build_new()
    try:
        asyncio.run(run_app(build_app(loaded, path, read)))
    except OSError as e:
        raise ConfigError(f"{path}: {e.strerror or e}") from None
    except AuditError as e:
        raise ConfigError(f"{path}: audit: {e}") from None
    except ReviewError as e:
        raise ConfigError(f"{path}: review: {e}") from None
    return 0


def _with_options(blueprint: Blueprint, args: argparse.Namespace) -> Blueprint:
    """The configuration with what the command line overrides."""
    config = blueprint.config
    listen = _changed(config.listen, host=args.host, port=args.port)
    admin = config.admin
    if args.admin_port is not None:
        admin = _changed(admin or Admin(), port=args.admin_port)
    return replace(blueprint, config=config.model_copy(update={"listen": listen, "admin": admin}))


def _changed(section: S, **values: Any) -> S:
    return section.model_copy(update={k: v for k, v in values.items() if v is not None})
