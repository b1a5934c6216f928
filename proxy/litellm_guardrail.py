"""LiteLLM's generic guardrail protocol: a gateway shows its texts here before and after it calls a model.

Source: docs.litellm.ai, "Generic Guardrail API" (beta), and LiteLLM 1.108 (``guardrail_hooks/generic_guardrail_api``).

Failing closed: that client treats 502, 503 and 504 as "unreachable" and lets everything through if it is configured with
``unreachable_fallback: fail_open``, and any error with ``fail_on_error: false``. Only an answer with ``action: BLOCKED`` always
blocks. So content that no guard could judge, and content that cannot be read, are *BLOCKED* with status 200. What is no
request of this protocol (not JSON, too large, no route) is an error as everywhere.

What is judged is all that the gateway will send on: ``texts``, ``structured_messages`` (the same texts with their roles, and
what stands beside them), ``tools`` and ``tool_calls``. ``images`` are opaque. Only ``texts`` can be rewritten: what would have
to be masked elsewhere is blocked. `FACTS` about the call are not content; a field that nobody here knows is judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from proxy.chat_api import MESSAGE, TOOL_CALL
from proxy.errors import bad_request, guard_unavailable
from proxy.exchange import Exchange, Judged, judge
from proxy.schema import Anything, Collection, Misfit, Opaque, Spec, read_decoded
from rules.content import Content, Leaf, LeafKind, Path, Surface
from rules.decision import Cause, Decision
from rules.rewrite import edited_texts
from rules.rule import Action, Stage
from rules.screen import Screener

PATH = "/beta/litellm_basic_guardrail_api"

UNREADABLE = "The content cannot be judged, so it was not passed on."

_STAGES = {"request": Stage.INPUT, "response": Stage.OUTPUT}
_LISTS = {"texts": str, "images": str, "structured_messages": dict, "tools": dict, "tool_calls": dict}
FACTS = {
    *("input_type", "litellm_call_id", "litellm_trace_id", "litellm_version", "model"),
    *("request_data", "request_headers", "additional_provider_specific_params"),
}
_UNREAD = Anything(Surface.METADATA, is_unknown=True)
"""A field that nobody here knows; it says something about the call, and goes nowhere."""
_SURFACES = {
    "system": Surface.SYSTEM,
    "developer": Surface.DEVELOPER,
    "assistant": Surface.ASSISTANT,
    "tool": Surface.TOOL_RESULT,
    "function": Surface.TOOL_RESULT,
}


def stage_of(raw: dict[str, Any]) -> Stage:
    """The stage that a request asks for; its lists are checked to be lists of the right things.

    Raises:
        HttpError: 400, naming what is wrong.
    """
    kind = raw.get("input_type")
    if not isinstance(kind, str) or kind not in _STAGES:
        raise bad_request("invalid_value", "input_type: must be one of request, response", "input_type")
    for name, item in _LISTS.items():
        values = raw.get(name)
        if values is not None and not (isinstance(values, list) and all(isinstance(v, item) for v in values)):
            raise bad_request("invalid_type", f"{name}: must be a list of {item.__name__}", name)
    return _STAGES[kind]


def model_of(raw: dict[str, Any]) -> str | None:
    """The model of the call, by which a route is looked for; None if the gateway does not tell.

    Raises:
        HttpError: 400 if it is no name.
    """
    model = raw.get("model")
    if model is not None and not isinstance(model, str):
        raise bad_request("invalid_type", "model: must be the name of a model", "model")
    return model or None


def read(raw: dict[str, Any], stage: Stage) -> Content:
    """Everything of a request that is judged; the texts, which alone can be rewritten, are its leaves of kind *text*.

    Raises:
        Misfit: Some of it cannot be read.
    """
    into = Collection(strict=True)
    for i, message in enumerate(raw.get("structured_messages") or ()):
        role = message.get("role")
        surface = _SURFACES.get(role, Surface.USER) if isinstance(role, str) else Surface.USER
        _read(MESSAGE, surface, message, ("structured_messages", i), into)
    for i, call in enumerate(raw.get("tool_calls") or ()):
        known = TOOL_CALL if "function" in call or "custom" in call else None
        _read(known, Surface.TOOL_CALL, call, ("tool_calls", i), into)
    for i, tool in enumerate(raw.get("tools") or ()):
        Anything(Surface.TOOL_DEFINITION).clean(tool, ("tools", i), into)
    for name in raw.keys() - FACTS - _LISTS.keys():
        _UNREAD.clean({name: raw[name]}, (), into)
    opaque = tuple(into.opaque)
    for i, image in enumerate(raw.get("images") or ()):
        Opaque().clean(image, ("images", i), into)
    texts = Collection(strict=True)
    for i, text in enumerate(raw.get("texts") or ()):
        texts.add(("texts", i), stage.surface, text)
    # the images of the messages are those of `images`: each is counted once
    return Content(tuple(_merged(texts.leaves, into.leaves)), opaque or tuple(into.opaque))


def _read(spec: Spec | None, surface: Surface, value: Any, path: Path, into: Collection) -> None:
    """Read a message or a call as what it is; what has another shape (other APIs' messages) as JSON, all of it."""
    start, n_opaque = len(into.leaves), len(into.opaque)
    if spec is not None:
        try:
            spec.clean(value, path, into)
        except Misfit as e:
            if e.code == "unsupported_field":  # text that is elsewhere, or read as something else
                raise
            del into.leaves[start:], into.opaque[n_opaque:]
        else:
            return
    Anything(surface, is_unknown=True).clean(value, path, into)
    for leaf in into.leaves[start:]:
        read_decoded(leaf.text, leaf.path, surface, into)


def _merged(texts: list[Leaf], others: list[Leaf]) -> Iterator[Leaf]:
    """The texts with the surfaces that the messages give them, then what stands only in the messages.

    A text that several roles say is judged as each of them; one in a message of an unknown shape is read by every rule.
    """
    said: dict[str, list[Leaf]] = {}
    for leaf in others:
        if leaf.kind is LeafKind.TEXT and leaf.path[0] == "structured_messages":
            said.setdefault(leaf.text, []).append(leaf)
    judged: set[tuple[Surface, str]] = set()
    for leaf in texts:
        same = said.get(leaf.text) or [leaf]
        # what a model has said stays so, whoever said the same in the conversation before it
        is_said = leaf.surface is Surface.ASSISTANT or any(s.surface is leaf.surface for s in same)
        surface = leaf.surface if is_said else same[0].surface
        judged.add((surface, leaf.text))
        yield replace(leaf, surface=surface, is_unknown=any(s.is_unknown for s in same))
    for leaf in others:
        if leaf.kind is LeafKind.DERIVED:
            yield leaf
        elif (leaf.surface, leaf.text) not in judged:
            yield replace(leaf, kind=LeafKind.KEY)


async def apply(exchange: Exchange, screener: Screener, raw: dict[str, Any], content: Content) -> dict[str, Any]:
    """Judge a request; gives the answer's body, the decision goes on record."""
    judged: Judged = await exchange.held(await judge(screener, content, (), exchange.masker), screener)
    decision = judged.decision
    exchange.decided(screener.stage, decision, judged.seconds, judged.content)
    if decision.action is Action.REFUSE:
        return blocked(_reason(exchange, decision))
    changed = edited_texts(content, judged.edits)
    if not changed:
        return {"action": "NONE"}
    texts = [changed.get(("texts", i), text) for i, text in enumerate(raw["texts"])]
    return {"action": "GUARDRAIL_INTERVENED", "texts": texts}


def blocked(reason: str) -> dict[str, Any]:
    """The answer that blocks; its reason is told to the end user."""
    return {"action": "BLOCKED", "blocked_reason": reason}


def _reason(exchange: Exchange, decision: Decision) -> str:
    return guard_unavailable().message if decision.cause is Cause.UNDECIDED else exchange.refusal_text(decision)
