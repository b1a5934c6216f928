"""Pages from templates. Everything that a template shows is escaped, and what cannot be seen is made visible.

A policy's name, a model's name or a text can hold characters that turn the direction of what follows, or that have no shape
at all. They are shown by their numbers, so that a page never reads differently from what stands in the record.
"""

from __future__ import annotations

import unicodedata
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_JOINERS = {"\u200c", "\u200d"}
"""Persian and emoji need them, and they stay where they are."""

STATIC_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def visible(value: object) -> object:
    r"""A value as a page shows it.

    >>> visible("a\u202eb")
    'a⟨U+202E⟩b'
    """
    if value is None:
        return ""
    if not isinstance(value, str) or isinstance(value, Markup) or (value.isascii() and value.isprintable()):
        return value
    return "".join(f"⟨U+{ord(c):04X}⟩" if _is_hidden(c) else c for c in value)


def _is_hidden(char: str) -> bool:
    if char in "\n\t" or char in _JOINERS:
        return False
    return unicodedata.category(char) in ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")


class Pages:
    """Draws pages; any thread may."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=PackageLoader("proxy.console", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=visible,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )

    def draw(self, template: str, **shown: Any) -> str:
        """One page, or a piece of one."""
        return self._environment.get_template(template).render(shown)


def static_files() -> dict[str, tuple[str, bytes]]:
    """The files that are served as they are, type and bytes by name: no client's words are ever looked up on a disk."""
    folder = resources.files("proxy.console") / "static"
    files = [f for f in folder.iterdir() if f.name.rpartition(".")[2] in STATIC_TYPES]
    return {f.name: (STATIC_TYPES[f.name.rpartition(".")[2]], f.read_bytes()) for f in files}
