"""Prompts and inputs that are one text or several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from proxy.schema import Array, Collection, Text
from rules.content import Path, Surface

MAX_TEXTS = 2048
"""Texts in one request; OpenAI's limit for embeddings."""


@dataclass(frozen=True, slots=True)
class Texts:
    """A string, or a list of strings; never token ids, which no rule here can read."""

    surface: Surface
    max_items: int = MAX_TEXTS
    may_be_files: bool = False
    """See `proxy.schema.Text`."""

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        """See `proxy.schema.Spec`."""
        text = Text(self.surface, nullable=False, may_be_file=self.may_be_files)
        if isinstance(value, list):
            if any(isinstance(item, (int, float, list)) for item in value):
                return into.wrong(
                    path, "token ids cannot be judged; send text (a string or a list of strings)", "token_ids"
                )
            return Array(text, self.max_items, min_items=1).clean(value, path, into)
        if not isinstance(value, str):
            return into.wrong(path, "must be a string or a list of strings", "invalid_type")
        return text.clean(value, path, into)


def count(texts: str | list[str]) -> int:
    """How many texts a cleaned value of `Texts` holds."""
    return 1 if isinstance(texts, str) else len(texts)
