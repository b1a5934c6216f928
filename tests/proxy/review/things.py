"""Items and clocks for the tests of the review queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from proxy.review.item import Flagged, NewItem

DAY_US = 86_400_000_000
START_US = 1_800_000_000_000_000


@dataclass(slots=True)
class Clock:
    """A clock that stands until it is set."""

    now_us: int = START_US

    def __call__(self) -> int:
        return self.now_us

    def advance(self, *, days: float = 0, seconds: float = 0) -> None:
        self.now_us += int(days * DAY_US + seconds * 1_000_000)


def flagged(policy: str = "fruit", **more: Any) -> Flagged:
    given: dict[str, Any] = {"revision": f"rev-{policy}", "fingerprint": f"print-{policy}", "about": {"score": 0.7}}
    return Flagged(policy, **{**given, **more})


def new_item(name: str = "a", *policies: str, **more: Any) -> NewItem:
    given: dict[str, Any] = {
        "decision_id": f"{name}-input",
        "request_id": name,
        "stage": "input",
        "endpoint": "/v1/chat/completions",
        "route": "shop",
        "region": None,
        "action": "flag",
        "flagged": tuple(map(flagged, policies or ("fruit",))),
        "content": {"keep": "full", "texts": [{"text": f"About {name}."}]},
    }
    return NewItem(**{**given, **more})
