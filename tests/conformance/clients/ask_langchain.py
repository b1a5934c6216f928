"""LangChain's ChatOpenAI: asks what standard input lists, prints what the application sees of each answer."""

from __future__ import annotations

import json
import sys
from typing import Any

from langchain_openai import ChatOpenAI


def ask(question: dict[str, Any]) -> dict[str, Any]:
    """One question."""
    model = ChatOpenAI(
        model="gpt-4o", base_url=question["base_url"], api_key="sk-client", max_retries=question.get("retries", 0)
    )
    seen: dict[str, Any] = {"text": "", "finish": None, "error": None}
    try:
        if question["stream"]:
            for chunk in model.stream(question["content"]):
                seen["text"] += chunk.content
                seen["finish"] = chunk.response_metadata.get("finish_reason") or seen["finish"]
        else:
            answer = model.invoke(question["content"])
            seen["text"] = answer.content
            seen["finish"] = answer.response_metadata.get("finish_reason")
    except Exception as e:
        seen["error"] = {
            "kind": type(e).__name__,
            "status": getattr(e, "status_code", None),
            "code": getattr(e, "code", None),
        }
    return seen


print(json.dumps([ask(question) for question in json.load(sys.stdin)]))
