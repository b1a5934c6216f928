"""LiteLLM as a library, alone or as a router with a fallback: prints what the application sees of each answer."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm  # reads the variable above at import

litellm.suppress_debug_info = True


def ask(question: dict[str, Any]) -> dict[str, Any]:
    """One question; with ``fallback``, through a router that has another model to fall back to."""
    request = {"messages": [{"role": "user", "content": question["content"]}], "stream": question["stream"]}
    seen: dict[str, Any] = {"text": "", "finish": None, "error": None}
    try:
        if "fallback" in question:
            answer = router(question).completion(model="guarded", **request)
        else:
            answer = litellm.completion(model="openai/gpt-4o", num_retries=0, **at(question["base_url"]), **request)
        if question["stream"]:
            for chunk in answer:
                for choice in chunk.choices:
                    seen["text"] += choice.delta.content or ""
                    seen["finish"] = choice.finish_reason or seen["finish"]
        else:
            seen["text"] = answer.choices[0].message.content
            seen["finish"] = answer.choices[0].finish_reason
    except Exception as e:
        seen["error"] = {
            "kind": type(e).__name__,
            "status": getattr(e, "status_code", None),
            "code": getattr(e, "code", None),
        }
    return seen


def at(base_url: str) -> dict[str, str]:
    """Where a model is and how it is asked."""
    return {"api_base": base_url, "api_key": "sk-client"}


def router(question: dict[str, Any]) -> litellm.Router:
    """A router whose guarded model falls back to one without a guard."""
    models = {"guarded": question["base_url"], "unguarded": question["fallback"]}
    return litellm.Router(
        model_list=[
            {"model_name": name, "litellm_params": {"model": "openai/gpt-4o", **at(url)}}
            for name, url in models.items()
        ],
        fallbacks=[{"guarded": ["unguarded"]}],
        num_retries=0,
    )


print(json.dumps([ask(question) for question in json.load(sys.stdin)]))
