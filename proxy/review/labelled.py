"""From a decided item to a labelled content: an example of its policy, or a row that ``safeguard calibrate --data`` reads.

Both hold a text or a chat, in the forms of `proxy.samples`. What the policy's rule does not read is left out of what is judged;
with an answer stands the conversation that it answers. What is no plain text of a chat (a tool call, a tool's result) cannot be
told in these forms: then there is no example, rather than one of another content.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from proxy.review.item import Flagged, Item, ReviewError, State
from proxy.samples import read_sample
from proxy.schema import Misfit
from rules.content import Surface, join_parts, show_path
from rules.rule import Stage

_ROLES = {s.value: s.value for s in (Surface.SYSTEM, Surface.DEVELOPER, Surface.USER, Surface.ASSISTANT)}
_ASIDE = {Surface.METADATA.value, Surface.TOOL_DEFINITION.value}
"""Surfaces that are no part of what was said: names, ids, headers; the tools that a model may call."""

_MESSAGE = re.compile(r"[^.\[]+(\[\d+\])?")


def flagged_by(item: Item, policy: str | None) -> Flagged:
    """The policy of an item that is meant.

    Raises:
        ReviewError: It has not flagged, or several have and none is named.
    """
    if policy is None:
        if len(item.flagged) > 1:
            raise ReviewError(f"item {item.id}: several policies flagged: name one of {', '.join(item.policies)}")
        return item.flagged[0]
    found = next((flagged for flagged in item.flagged if flagged.policy == policy), None)
    if found is None:
        raise ReviewError(f"item {item.id}: {policy!r} has not flagged it ({', '.join(item.policies)} did)")
    return found


def violates(item: Item) -> bool:
    """What people say about an item, as a label.

    Raises:
        ReviewError: They say nothing.
    """
    if item.state not in (State.UPHELD, State.OVERTURNED):
        raise ReviewError(f"item {item.id}: is {item.state}: decide it first, as upheld or overturned")
    return item.state is State.UPHELD


def form_of(item: Item, content: Mapping[str, Any] | None, flagged: Flagged) -> dict[str, Any]:
    """An item's content as ``text`` or ``messages``.

    Raises:
        ReviewError: It was not kept, or cannot be told so.
    """
    if content is None:
        raise ReviewError(f"item {item.id}: its content was not kept (review.content)")
    read = [
        t for t in content["texts"] if flagged.reads is None or t["surface"] in flagged.reads or t.get("is_unknown")
    ]
    said = list(_messages(item, read, strict=True))
    asked = list(_messages(item, content.get("asked", ()), strict=False))
    if not said:
        raise ReviewError(f"item {item.id}: it holds no text of a chat")
    plain = Stage(item.stage).surface.value
    if item.stage == Stage.OUTPUT and len(said) > 1:
        raise ReviewError(f"item {item.id}: it holds several answers, and it is not known which is meant")
    messages = [*asked, *said]
    is_plain = len(messages) == 1 and set(messages[0]) == {"role", "content"} and messages[0]["role"] == plain
    form: dict[str, Any] = {"text": messages[0]["content"]} if is_plain else {"messages": messages}
    try:
        read_sample(form, Stage(item.stage))
    except Misfit as e:
        raise ReviewError(f"item {item.id}: {e.said()}") from None
    return form


def _messages(item: Item, texts: Iterable[Mapping[str, Any]], *, strict: bool) -> Iterable[dict[str, Any]]:
    """Texts as messages; those that are none are an error, or left out if it is not ``strict``."""
    groups: dict[tuple[str, str], dict[str, list[str]]] = {}
    for text in texts:
        surface = text["surface"]
        if text["kind"] != "text" or surface in _ASIDE or text["text"] == "":
            continue
        if text["text"] is None:
            raise ReviewError(f"item {item.id}: a part of its content was not kept, because it could not be masked")
        if surface == Surface.REASONING.value:
            role, field = _ROLES[Surface.ASSISTANT.value], "reasoning_content"
        elif surface in _ROLES:
            role, field = _ROLES[surface], "content"
        elif strict:
            raise ReviewError(f"item {item.id}: it holds a {surface}, which examples and rows of text cannot tell")
        else:
            continue
        groups.setdefault((_place(text["path"]), role), {}).setdefault(field, []).append(text["text"])
    for (_, role), fields in groups.items():
        yield {"role": role, "content": "", **{name: join_parts(parts) for name, parts in fields.items()}}


def _place(path: str | Sequence[str | int]) -> str:
    """The message or choice that a text belongs to."""
    shown = path if isinstance(path, str) else show_path(tuple(path[:2]))
    found = _MESSAGE.match(shown)
    return found[0] if found is not None else shown


def row_of(item: Item, content: Mapping[str, Any] | None, policy: str | None = None) -> dict[str, Any]:
    """An item as a labelled row.

    Where several policies flagged and none is named, an overturned item is labelled for all of them: it violates none.

    Raises:
        ReviewError: It is not decided, or cannot be told as a row.
    """
    label = violates(item)
    several = policy is None and not label
    those = item.flagged if several else (flagged_by(item, policy),)
    reads = None if any(f.reads is None for f in those) else sorted({s for f in those for s in f.reads or ()})
    whole = Flagged(those[0].policy, those[0].revision, reads=reads)
    labels = {flagged.policy: int(label) for flagged in those}
    return {"id": f"review-{item.id}", "stage": item.stage, **form_of(item, content, whole), "labels": labels}
