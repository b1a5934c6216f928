"""What an upstream says about a request that it did not take, as it may cross to the client.

A 4xx keeps its status, its type and code, and its message if the output rules let it pass. Servers write errors in several
ways; all come out in OpenAI's: ``{"error": {"message", "type", "param", "code"}}``. A message can spell anything, and so can a
type or a code that nobody here knows: they are judged together. Known words, names of request fields and short numbers carry
no text; they cross also when the rest is refused, because clients go by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.engine import Passage
from proxy.chat_api import CHAT_REQUEST
from proxy.completion_api import COMPLETION_REQUEST
from proxy.embeddings import EMBEDDING_REQUEST
from proxy.errors import HttpError, bad_upstream, upstream_failure
from proxy.exchange import Exchange, screen_object
from proxy.loading.loaded import LoadedRoute
from proxy.responses_api import REQUEST as RESPONSES_REQUEST
from proxy.schema import Collection, Misfit, Object, Text, choice
from proxy.strict_json import JsonError, parse_json
from proxy.upstream import Answer
from rules.content import Content, Path, Surface
from rules.rule import Action

MAX_BYTES = 64 * 1024
"""What is read of an error."""

_NESTED = 3
"""So deep do servers wrap an error into others (``{"detail": {"error": {…}}}``)."""

TYPES = (
    "invalid_request_error", "authentication_error", "permission_error", "permission_denied_error", "not_found_error",
    "conflict_error", "rate_limit_error", "rate_limit_exceeded", "insufficient_quota", "requests", "tokens", "server_error",
    "api_error", "overloaded_error", "request_too_large", "billing_error", "image_generation_user_error",
    "BadRequestError", "AuthenticationError", "PermissionDeniedError", "NotFoundError", "ConflictError",
    "UnprocessableEntityError", "RateLimitError", "InternalServerError",
)  # fmt: skip
"""Words of ``type``: OpenAI's, Anthropic's, and vLLM's, which are names of exceptions."""

CODES = (
    "account_deactivated", "billing_hard_limit_reached", "billing_not_active", "content_filter", "content_policy_violation",
    "context_length_exceeded", "decimal_above_max_value", "decimal_below_min_value", "engine_overloaded", "image_parse_error",
    "image_too_large", "insufficient_permissions", "insufficient_quota", "integer_above_max_value", "integer_below_min_value",
    "invalid_api_key", "invalid_base64", "invalid_encrypted_content", "invalid_function_parameters", "invalid_image",
    "invalid_image_format", "invalid_image_url", "invalid_json", "invalid_json_schema", "invalid_organization",
    "invalid_project", "invalid_prompt", "invalid_request", "invalid_request_error", "invalid_type", "invalid_value",
    "max_tokens_exceeded", "missing_required_parameter", "model_not_found", "not_found", "organization_deactivated",
    "rate_limit_exceeded", "request_too_large", "requests_per_day_limit_exceeded", "server_error", "string_above_max_length",
    "string_below_min_length", "token_limit_exceeded", "tokens_exceeded", "unknown_parameter", "unknown_url",
    "unsupported_country_region_territory", "unsupported_model", "unsupported_parameter", "unsupported_value",
    "user_location_not_supported", "array_above_max_length", "array_below_min_length", "empty_array", "empty_string",
    "previous_response_not_found", "item_not_found", "invalid_organization_id", "ip_not_authorized", "DeploymentNotFound",
)  # fmt: skip
"""Words of ``code``, OpenAI's."""

_REQUESTS = (CHAT_REQUEST, COMPLETION_REQUEST, EMBEDDING_REQUEST, RESPONSES_REQUEST)
PARAMS = frozenset[str]().union(*(request.fields for request in _REQUESTS))
"""Words of ``param``: the fields of requests."""


class _Code:
    """A code: a word, or a number too short to be anybody's; clients expect a string in either case."""

    word = choice(*CODES)

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        """See `proxy.schema.Spec`."""
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1_000_000:
            return str(value)
        return self.word.clean(value, path, into)


ERROR_BODY = Object(
    {
        "error": Object(
            {"message": Text(Surface.ASSISTANT), "type": choice(*TYPES), "code": _Code(), "param": choice(*PARAMS)}
        )
    },
    ("error",),
)
"""An error in OpenAI's shape: crosses only if the output rules let it; what is not its message is read by all of them."""


def in_openais_shape(raw: Any) -> dict[str, Any]:
    """An error as OpenAI writes it, from what servers write.

    Sources: OpenAI and vLLM since 0.10 (``error`` is an object), vLLM before (flat), FastAPI (``detail`` is a text, or a list
    of places and reasons), TGI, Ollama and others (``error`` is a text).
    """
    found = raw
    for _ in range(_NESTED):
        if not isinstance(found, dict):
            break
        error = found.get("error")
        if not isinstance(error, dict) and isinstance(found.get("message"), str):
            break
        inner = error or found.get("detail")
        found = inner if isinstance(inner, dict) else {**found, "message": _text(inner), "error": None}
    return {"error": found if isinstance(found, dict) else {}}


def _text(said: Any) -> str | None:
    """What a text or FastAPI's list of misfits says."""
    if not isinstance(said, list):
        return said if isinstance(said, str) else None
    lines = []
    for misfit in said:
        if isinstance(misfit, dict) and isinstance(misfit.get("msg"), str):
            loc = misfit.get("loc")
            where = ".".join(map(str, loc)) if isinstance(loc, list) else ""
            lines.append(f"{where}: {misfit['msg']}" if where else misfit["msg"])
    return "; ".join(lines) or None


async def upstream_error(
    exchange: Exchange, route: LoadedRoute, answer: Answer, context: Sequence[Passage] = ()
) -> HttpError:
    """The client's error for an upstream's answer that is none.

    Args:
        exchange: What it belongs to; the decision about the error's text goes on record there.
        route: Whose output rules judge.
        answer: Of any status but 200.
        context: What guards are shown besides.
    """
    if not 400 <= answer.status < 600:
        return bad_upstream(f"The upstream answered with status {answer.status}.")
    failure = upstream_failure(answer.status, answer.headers)
    if answer.status >= 500:
        return failure
    into = Collection(strict=False, hidden=route.upstream_key)
    try:
        body = ERROR_BODY.clean(in_openais_shape(parse_json(await answer.read(MAX_BYTES))), (), into)
    except (JsonError, HttpError, Misfit):
        return failure
    error = body["error"]
    if into.leaves:
        content = Content(tuple(into.leaves))
        screened = await screen_object(exchange, route.output, body, content, context)
        error = screened.body["error"]
        if screened.decision.action is Action.REFUSE:
            for leaf in into.leaves:
                error.pop(leaf.path[-1], None)
    failure.message = error.get("message") or failure.message
    failure.type = error.get("type") or failure.type
    failure.code = error.get("code") or failure.code
    failure.param = error.get("param")
    return failure
