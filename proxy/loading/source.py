"""The file of a configuration: read and checked by itself, with the place of every mistake in it."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from proxy.config import (
    Admin,
    Audit,
    Config,
    EncoderGuard,
    Listen,
    LlamaGuard,
    Match,
    OpenAIGuard,
    PolicyEntry,
    Review,
    Route,
    RuleEntry,
    Section,
    Upstream,
)
from proxy.config_error import ConfigError
from proxy.inheriting import RouteError
from proxy.inheriting import resolve as resolve_routes
from proxy.yaml_file import Path as KeyPath
from proxy.yaml_file import YamlError, YamlFile, parse_yaml
from rules.content import show_path

MAX_FILE_BYTES = 1_000_000
"""A larger file is a mistake, and reading YAML takes some ten seconds a megabyte, while requests are answered more slowly."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where complaints point to.

    Attributes:
        path: The file.
        file: What stands in it.
        written: See `proxy.inheriting.Resolved`.
    """

    path: Path
    file: YamlFile = field(repr=False)
    written: Mapping[KeyPath, tuple[KeyPath, ...]] = field(default_factory=dict, repr=False)

    def error(self, key: KeyPath, reason: str) -> ConfigError:
        """A complaint about a place of the configuration, in one line.

        Args:
            key: The place; it, or the nearest thing around it, gives the line.
            reason: What is wrong with it.
        """
        place = self._place(key)
        where = show_path(place)
        if place[:2] != self._place(key[:2]):
            reason = f"{reason} (here because of {show_path(self._place(key[:2]))})"
        return ConfigError(
            f"{self.path}:{self.file.line_of(place)}: {where + ': ' if where else ''}{' '.join(reason.split())}"
        )

    def _place(self, key: KeyPath) -> KeyPath:
        """Where in the file stands what makes up a place of the configuration."""
        for n in range(len(key), 1, -1):
            if key[:n] in self.written:
                return (*self.written[key[:n]][0], *key[n:])
        return key

    def routes_of(self, key: KeyPath) -> list[str]:
        """The names of the routes in the file that say what stands at a place of the configuration."""
        places = self.written.get(key, ())
        return list(dict.fromkeys(self.file.data["routes"][place[1]]["name"] for place in places))


def read_config(path: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Read a configuration only.

    Raises:
        ConfigError: Something in it is unusable.
    """
    return read_source(path, environ)[1]


def read_source(path: Path, environ: Mapping[str, str]) -> tuple[Source, Config]:
    """Read a configuration, with the places that complaints about the rest of it point to.

    Args:
        path: The YAML file.
        environ: Where variables are looked up.

    Returns:
        The file, and what it says; its routes are whole.

    Raises:
        ConfigError: Something in it is unusable.
    """
    try:
        with path.open("rb") as stream:  # a device has no size, and may have no end
            data = stream.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise ConfigError(
                f"{path}: has no end that is near; no configuration may have more than {MAX_FILE_BYTES} bytes"
            )
        text = data.decode()
    except OSError as e:
        raise ConfigError(f"{path}: cannot read the configuration: {e.strerror}") from None
    except UnicodeDecodeError as e:
        raise ConfigError(f"{path}: not UTF-8 (byte {e.start})") from None
    try:
        file = parse_yaml(text, environ)
    except YamlError as e:
        raise ConfigError(f"{path}:{e.line or 1}: {e}") from None
    source = Source(path, file)
    try:
        resolved = resolve_routes(Config.model_validate(file.data))
    except ValidationError as e:
        raise _explain(source, e) from None
    except RouteError as e:
        raise source.error(e.key, str(e)) from None
    return replace(source, written=resolved.written), resolved.config


def _explain(source: Source, error: ValidationError) -> ConfigError:
    """The first complaint of pydantic, in the words of the file."""
    first = error.errors(include_url=False)[0]
    key: list[str | int] = []
    data: Any = source.file.data
    for step in first["loc"]:  # leave out what pydantic adds for unions and discriminators
        inside: Any = range(len(data)) if isinstance(data, list) else data if isinstance(data, dict) else ()
        if step in inside:
            key.append(step)
            data = operator.getitem(data, step)
        elif step == first["loc"][-1] and first["type"] == "missing":
            key.append(step)
    given = first.get("input")
    shown = f" (got {given!r})" if isinstance(given, (str, int, float, bool)) else ""
    if first["loc"] and str(first["loc"][-1]).endswith("_env"):
        shown = " (the name of an environment variable, not the key itself)"  # never shown: it can be the key
    elif "@" in shown or "?" in shown:
        shown = ""  # a URL's password or key
    match first["type"]:
        case "model_type" | "dict_type":
            reason = "must be a mapping of keys to values"
        case "extra_forbidden":
            reason = "unknown key" + _similar(str(first["loc"][-1]), source, tuple(key))
        case "missing":
            reason = "is missing"
        case "union_tag_invalid" | "union_tag_not_found":
            engine = given.get("engine") if isinstance(given, dict) else None
            key.append("engine")
            reason = "must be one of encoder, llama, openai" + (f" (got {engine!r})" if engine is not None else "")
        case "greater_than_equal" | "less_than_equal" if first["loc"][-1] in ("flag", "rewrite", "refuse"):
            reason = f"a threshold must lie in [0, 1]{shown}"
        case _:
            reason = first["msg"].removeprefix("Value error, ") + shown
    return source.error(tuple(key), reason)


_SECTIONS: dict[str, type[Section]] = {"listen": Listen, "admin": Admin, "audit": Audit, "review": Review}
_ENTRIES: dict[str, type[Section]] = {"upstreams": Upstream, "policies": PolicyEntry, "routes": Route}
_GUARDS: dict[object, type[Section]] = {"encoder": EncoderGuard, "llama": LlamaGuard, "openai": OpenAIGuard}


def _similar(key: str, source: Source, path: KeyPath) -> str:
    """Names that would be right, where the parent is easily known."""
    model: type[Section] | None = None
    match path:
        case (_,):
            model = Config
        case (section, _):
            model = _SECTIONS.get(str(section))
        case ("guards", name, _):
            model = _GUARDS.get(source.file.data["guards"][name].get("engine"))
        case (section, _, _):
            model = _ENTRIES.get(str(section))
        case ("routes", _, "match", _):
            model = Match
        case ("routes", _, "input" | "output", _, _):
            model = RuleEntry
        case _:
            pass
    return f"; known here: {', '.join(model.model_fields)}" if model is not None else ""


def known(names: Mapping[str, object]) -> str:
    """The end of a complaint about a name that there is not: those that there are."""
    return f" (known: {', '.join(sorted(names)) or 'none'})"
