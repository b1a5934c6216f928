"""A content that comes by itself, not in a request: a row of a batch, an example of a policy.

It has one of three forms: ``text``; ``messages``, a chat as in a request; ``prompt`` and ``completion``, each a text or a chat.
Chats are read by the schema of ``/v1/chat/completions``, so what is no message there is none here. At stage *output* the last
message, or the completion, is judged, and guards are shown what came before it, as in an exchange.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from models.engine import Passage
from proxy.chat_api import MESSAGE
from proxy.config_error import ConfigError
from proxy.exchange import context_of
from proxy.schema import Array, Collection, Misfit, Text
from rules.content import Content, Surface
from rules.examples import Example, ExampleFile
from rules.rule import Stage

MAX_MESSAGES = 4096
FORMS = ("text", "messages", "prompt", "completion")
"""The fields that say something, of whatever has fields."""

_CHAT = Array(MESSAGE, MAX_MESSAGES, min_items=1)


@dataclass(frozen=True, slots=True)
class Sample:
    """What is judged, and what guards are shown besides."""

    content: Content
    context: tuple[Passage, ...] = ()


def read_sample(given: Mapping[str, Any], stage: Stage, *, screen_unknown: bool = True) -> Sample:
    """Read a content in one of its forms.

    Args:
        given: Fields, of which those in `FORMS` count.
        stage: At which it is to be judged.
        screen_unknown: Whether unknown fields of messages are judged too, or do not fit; a route's ``unknown_fields``.

    Raises:
        Misfit: It has no form, or two; or it does not fit. Names the place and quotes nothing.
    """
    present = [name for name in FORMS if given.get(name) is not None]
    if "completion" in present and stage is Stage.INPUT and "prompt" in present:
        present.remove("completion")
    match present:
        case ["text"]:
            surface = stage.surface
            return Sample(_text(given["text"], "text", surface))
        case ["messages"]:
            return _chat(given["messages"], stage, screen_unknown)
        case ["prompt"] if stage is Stage.INPUT:
            return Sample(_side(given["prompt"], "prompt", Surface.USER, screen_unknown))
        case ["completion"] | ["prompt", "completion"] if stage is Stage.OUTPUT:
            prompt = _side(given.get("prompt"), "prompt", Surface.USER, screen_unknown)
            said = _side(given["completion"], "completion", Surface.ASSISTANT, screen_unknown)
            return Sample(said, tuple(context_of(prompt)))
        case ["prompt"]:
            raise Misfit(("completion",), "is missing: at stage output it is what is judged", "missing_field")
        case ["completion"]:
            raise Misfit(("prompt",), "is missing: at stage input it is what is judged", "missing_field")
        case []:
            raise Misfit((), "has none of text, messages, prompt", "missing_field")
        case _:
            raise Misfit((), f"has {' and '.join(present)}, so it is not clear what to judge", "ambiguous")


def _text(value: Any, name: str, surface: Surface) -> Content:
    into = Collection(strict=True)
    Text(surface, nullable=False).clean(value, (name,), into)
    return Content(tuple(into.leaves))


def _messages(value: Any, name: str, screen_unknown: bool) -> Content:
    into = Collection(strict=True, screen_unknown=screen_unknown)
    _CHAT.clean(value, (name,), into)
    return Content(tuple(into.leaves), tuple(into.opaque))


def _side(value: Any, name: str, surface: Surface, screen_unknown: bool) -> Content:
    """One side of an exchange: a text, or messages."""
    if value is None:
        return Content(())
    return _messages(value, name, screen_unknown) if isinstance(value, list) else _text(value, name, surface)


def read_examples(file: ExampleFile) -> Iterator[tuple[int, Example, str, Sample]]:
    """The examples of a file: number from 1, the example, its place in the file, and what it says.

    Raises:
        ConfigError: One does not fit.
    """
    for number, (example, line) in enumerate(zip(file.examples, file.lines, strict=True), 1):
        where = f"{file.path}:{line}"
        try:
            sample = read_sample({"text": example.text, "messages": example.messages}, example.stage)
        except Misfit as e:
            raise ConfigError(f"{where}: example {number}: {e.said()}") from None
        yield number, example, where, sample


def _chat(value: Any, stage: Stage, screen_unknown: bool) -> Sample:
    whole = _messages(value, "messages", screen_unknown)
    if stage is Stage.INPUT:
        return Sample(whole)
    last = len(value) - 1
    if value[last]["role"] != "assistant":
        raise Misfit(("messages", last, "role"), "must be assistant: at stage output the last message is judged")
    said = Content(
        tuple(leaf for leaf in whole.leaves if leaf.path[1] == last),
        tuple(path for path in whole.opaque if path[1] == last),
    )
    return Sample(said, tuple(context_of(Content(tuple(leaf for leaf in whole.leaves if leaf.path[1] != last)))))
