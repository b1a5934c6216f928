"""Keys and tokens: the configuration names them, the environment holds them, and no complaint shows one."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from proxy.config import Config
from proxy.loading.source import Source
from proxy.yaml_file import Path as KeyPath


def key_of(source: Source, at: KeyPath, env: str | None, environ: Mapping[str, str]) -> str | None:
    """A key that the environment holds.

    Args:
        source: Where complaints point to.
        at: What names the variable.
        env: The variable; None: no key is wanted.
        environ: Where it is looked up.

    Returns:
        The key, without whitespace around it, or None if none is wanted.

    Raises:
        ConfigError: The variable is not set, or holds something else.
    """
    if env is None:
        return None
    value = environ.get(env, "").strip()
    if not value:
        raise source.error(at, f"environment variable {env} is not set")
    if not value.isascii() or any(c.isspace() or not c.isprintable() for c in value):
        raise source.error(at, f"environment variable {env} does not hold a key (spaces or non-ASCII)")
    return value


def admin_token_of(source: Source, config: Config, environ: Mapping[str, str]) -> str | None:
    """The token of the admin port; None: nobody has to show one, or there is no such port.

    Raises:
        ConfigError: There is none, and others than this machine could reach the port.
    """
    if config.admin is None:
        return None
    token = environ.get(config.admin.token_env) if config.admin.token_env else None
    if not token and not is_loopback(config.admin.host):
        raise source.error(
            ("admin", "host"),
            f"{config.admin.host!r} is not a loopback address, so token_env must name a variable that is set",
        )
    return token or None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
