"""``/v1/moderations``, answered here: every enforced input rule of the route scores every input; nothing goes upstream.

Source: OpenAI's API reference as of openai-python 3.54 (``types/moderation*.py``). A string is one result, a list of strings
one each, a list of parts one for all of them. Categories are the route's policies, see `proxy.categories`.

Nothing is refused here, so the decision on record is *flag* or *forward*. A verdict that failed counts as what its rule's
``on_error`` says: ``refuse`` is 503, ``flag`` flags the input, ``forward`` passes it; its category is left out, and the failure
counted in ``x-safeguard-unjudged``. Images are what the route's ``opaque`` says: ``refuse`` and ``flag`` make the category
`rules.decision.OPAQUE` true, ``forward`` counts them only.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models.errors import ContentTooLong
from proxy.bodies import Body
from proxy.categories import categorised
from proxy.errors import bad_request, guard_unavailable, too_long_to_judge
from proxy.exchange import Exchange
from proxy.loading.loaded import LoadedRoute
from proxy.schema import Array, ByWord, Collection, Misfit, Object, Opaque, Text, choice
from proxy.text_input import Texts
from rules.content import Content, Path, Surface, show_path
from rules.decision import OPAQUE, Cause, Decision, Verdict, opaque_part
from rules.rule import Action, OnError, Stage

PATH = "/v1/moderations"
MODEL = "safeguard"
"""What the answer calls the model if the request does not: a guard's name is not told."""

MAX_INPUTS = 1024
AT_ONCE = 8
"""Inputs of one request that are judged at the same time, so that it does not fill the guards' queues by itself."""

_NO_ROUTE = re.compile(r"(omni|text)-moderation-[a-z0-9.-]{1,32}")
"""OpenAI's moderation models: clients send their names by habit; they say nothing about a route."""

_PART = ByWord(
    "type",
    {
        "text": Object({"type": choice("text"), "text": Text(Surface.USER, nullable=False)}, ("text",)),
        "image_url": Opaque(),
    },
)


class _Input:
    """A string, a list of strings, or a list of parts."""

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        if isinstance(value, list) and any(isinstance(item, dict) for item in value):
            return Array(_PART, MAX_INPUTS).clean(value, path, into)
        return Texts(Surface.USER, MAX_INPUTS).clean(value, path, into)


_REQUEST = Object({"input": _Input(), "model": Text(Surface.METADATA)}, ("input",))


def route_model(raw: dict[str, Any]) -> str | None:
    """The model by which a route is looked for; None: by path and headers alone.

    Raises:
        HttpError: 400 if it is no name.
    """
    model = raw.get("model")
    if model is None:
        return None
    if not isinstance(model, str) or not model:
        raise bad_request("invalid_type", "model: must be the name of a model", "model")
    return None if _NO_ROUTE.fullmatch(model) else model


def read(raw: dict[str, Any], *, screen_unknown: bool) -> list[Content]:
    """The inputs, one content for each result.

    Raises:
        Misfit: The request does not fit.
    """
    into = Collection(strict=True, screen_unknown=screen_unknown)
    value = _REQUEST.clean(raw, (), into)["input"]
    # what stands in the request besides is neither forwarded nor moderated
    leaves = [leaf for leaf in into.leaves if leaf.path[0] == "input"]
    if isinstance(value, list) and isinstance(value[0], str):
        return [Content((leaf,)) for leaf in leaves]
    return [Content(tuple(leaves), tuple(into.opaque))]


async def moderate(exchange: Exchange, route: LoadedRoute, body: Body) -> dict[str, Any]:
    """Judge the inputs; gives the answer's body, the decision goes on record.

    Raises:
        HttpError: 400 for a request that does not fit, 503 or 413 if an input could not be judged.
    """
    started = time.monotonic()
    try:
        screen_unknown = route.config.unknown_fields == "screen"
        contents = await body.read(lambda raw: read(raw, screen_unknown=screen_unknown))
    except Misfit as e:
        raise bad_request(e.code, e.said("The body"), show_path(e.path) or None) from None
    limit = asyncio.Semaphore(AT_ONCE)

    async def score(content: Content) -> list[Verdict]:
        async with limit:
            return await route.input.scores(content)

    scored = await asyncio.gather(*map(score, contents))
    results = []
    for i, (content, verdicts) in enumerate(zip(contents, scored, strict=True)):
        item = _Item(i, content, verdicts, route.input.on_opaque)
        results.append(item.result)
        exchange.noted(item.decision, 0.0, content)
    exchange.decided(Stage.INPUT, exchange.decisions[Stage.INPUT], time.monotonic() - started)
    if exchange.decisions[Stage.INPUT].cause is Cause.UNDECIDED:
        failed = {v.error for verdicts in scored for v in verdicts if _failed(v, OnError.REFUSE)}
        raise too_long_to_judge() if failed == {ContentTooLong.code} else guard_unavailable()
    return {
        "id": f"modr-{exchange.request_id}",
        "model": body.data.get("model") or MODEL,
        "results": results,
    }


def _failed(verdict: Verdict, counts_as: OnError) -> bool:
    """Whether there is no verdict, and the rule says that this counts as such; what refuses leaves no answer to give."""
    return verdict.error is not None and verdict.rule.on_error is counts_as


@dataclass(frozen=True, slots=True)
class _Item:
    """One input and what the rules say about it."""

    number: int
    content: Content
    verdicts: Sequence[Verdict]
    on_opaque: OnError

    @property
    def result(self) -> dict[str, Any]:
        """As it stands in ``results``."""
        applied = {v.rule.policy.name: self._applied(v) for v in self.verdicts}
        result = categorised(self.verdicts, applied)
        if self._failed(OnError.FLAG):
            result["flagged"] = True
        if self.content.opaque and self.on_opaque is not OnError.FORWARD:
            result["flagged"] = True
            result["categories"][OPAQUE] = True
            result["category_scores"][OPAQUE] = 1.0
            result["category_applied_input_types"][OPAQUE] = ["image"]
        return result

    def _applied(self, verdict: Verdict) -> list[str]:
        read = self.content.within(verdict.rule.scope).leaves
        return ["text"] if any(leaf.surface is Surface.USER and leaf.text for leaf in read) else []

    def _failed(self, counts_as: OnError) -> tuple[str, ...]:
        """The policies without a verdict whose rules say that this counts as such."""
        return tuple(v.rule.policy.name for v in self.verdicts if _failed(v, counts_as))

    @property
    def decision(self) -> Decision:
        """As it goes on record."""
        if failed := self._failed(OnError.REFUSE):
            return Decision(Stage.INPUT, Action.REFUSE, Cause.UNDECIDED, failed, tuple(self.verdicts), ())
        result = self.result
        policies = tuple(name for name, is_true in result["categories"].items() if is_true)
        unjudged = (
            *map(opaque_part, self.content.opaque),
            *(f"policy:{v.rule.policy.name}:{self.number}" for v in self.verdicts if v.error is not None),
        )
        action = Action.FLAG if result["flagged"] else Action.FORWARD
        policies = policies or self._failed(OnError.FLAG)
        return Decision(Stage.INPUT, action, None, policies, tuple(self.verdicts), unjudged)
