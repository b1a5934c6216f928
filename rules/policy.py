"""A policy: a named text, or a named detector, that says what is a violation.

A policy file is Markdown. What stands between two ``---`` lines at its top is YAML about the policy (title, category,
summary, surfaces, what clients and upstreams are told); what follows is the text that the safeguard model reads.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.engine import GuardPolicy
from rules.content import Surface
from rules.detectors import Detector
from rules.errors import PolicyError
from rules.yaml_loader import Loader

SHIPPED = Path(__file__).parent / "policies"
"""Where the policies that come with the product lie."""

DEFAULT_REFUSAL_TEXT = "This request or its answer goes against the usage policy of this service."

DEFAULT_ADVISORY = "The next message may touch on: {name}. Stay within that policy; decline what it forbids."
"""What the upstream is told by ``rewrite_with: advisory`` where the policy says nothing itself."""

NO_CATEGORY = "none"
"""As a policy's category: the policy is read, also where its file names a category."""


class FrontMatter(BaseModel):
    """What a policy file says about itself, above its text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str | None = None
    category: str | None = None
    summary: str | None = None
    refusal_text: str | None = None
    rewrite_text: str | None = None
    advisory: str | None = None
    surfaces: tuple[Surface, ...] | None = None
    kind: Literal["policy"] = "policy"


@dataclass(frozen=True, slots=True)
class Policy:
    """What is judged.

    Attributes:
        name: Its name in the configuration; what clients and records call it.
        revision: Hash of everything that can change a verdict: 12 hexadecimal digits.
        text: For model policies: the whole text. Empty for detectors.
        detector: For detector policies: what finds spans.
        joins: Whether the detector also reads leaves joined without separators.
        category: The encoder output that judges it; None: the pair output.
        summary: One-line form for the encoder's pair output.
        refusal_text: What a client is told when this policy refuses; None: the route's text.
        surfaces: What a rule reads if it names no scope; None: everything.
        rewrite_text: What replaces a text that is against this policy; None: the refusal text.
        advisory: What the upstream is told about content that is near this policy. Empty for detectors.
        reason_band: Scores that a guard that can reason reasons about; None: what the guard says.
    """

    name: str
    revision: str
    text: str = field(default="", repr=False)
    detector: Detector | None = None
    joins: bool = True
    category: str | None = None
    summary: str | None = None
    refusal_text: str | None = None
    surfaces: frozenset[Surface] | None = None
    rewrite_text: str | None = None
    advisory: str = ""
    reason_band: tuple[float, float] | None = None

    def for_guard(self) -> GuardPolicy:
        """The policy as an engine needs it."""
        return GuardPolicy(self.name, self.revision, self.text, self.category, self.summary, self.reason_band)


def revision_of(*parts: str) -> str:
    """Hash of a policy's parts, each with its length so that no two lists of parts meet; 12 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:12]


def text_policy(
    name: str,
    source: str,
    *,
    category: str | None = None,
    refusal_text: str | None = None,
    summary: str | None = None,
    rewrite_text: str | None = None,
    advisory: str | None = None,
    reason_band: tuple[float, float] | None = None,
) -> Policy:
    """Build a policy from the content of a policy file, or from a text in the configuration.

    Args:
        name: The policy's name.
        source: Text, with or without front matter.
        category: From the configuration; wins over the front matter. `NO_CATEGORY`: it has none.
        refusal_text: From the configuration; wins over the front matter.
        summary: From the configuration; wins over the front matter.
        rewrite_text: From the configuration; wins over the front matter.
        advisory: From the configuration; wins over the front matter.
        reason_band: From the configuration.

    Raises:
        PolicyError: The front matter is wrong, or there is no text.
    """
    front, text = split_front_matter(source)
    if not text.strip():
        raise PolicyError(f"policy {name!r} has no text: write what is a violation")
    category = category or front.category
    category = None if category == NO_CATEGORY else category
    summary = (summary or front.summary or "").strip() or None
    return Policy(
        name=name,
        revision=revision_of(text, category or "", summary or ""),
        text=text.strip(),
        category=category,
        summary=summary,
        refusal_text=refusal_text or front.refusal_text,
        surfaces=None if front.surfaces is None else frozenset(front.surfaces),
        rewrite_text=rewrite_text or front.rewrite_text,
        advisory=advisory or front.advisory or DEFAULT_ADVISORY.format(name=front.title or name),
        reason_band=reason_band,
    )


def split_front_matter(source: str) -> tuple[FrontMatter, str]:
    """Take a policy file apart into what it says about itself and its text.

    Raises:
        PolicyError: The front matter is not closed, is not YAML, or has unknown keys.
    """
    source = source.removeprefix("\ufeff")  # some editors begin a file with it
    if not source.startswith("---\n"):
        return FrontMatter(), source
    head, closed, text = source[4:].partition("\n---\n")
    if not closed:
        raise PolicyError("front matter begins with '---' but has no closing '---' line")
    try:
        return FrontMatter.model_validate(yaml.load(head, Loader) or {}), text
    except yaml.YAMLError as e:
        raise PolicyError(f"front matter is not YAML: {str(e).splitlines()[0]}") from None
    except ValidationError as e:
        first = e.errors(include_url=False, include_input=False)[0]
        raise PolicyError(f"front matter: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def policy_file_places(name: str, beside: Path) -> tuple[Path, ...]:
    """Where `find_policy_file` looks, in order."""
    wanted = Path(name).expanduser()
    return (beside / wanted, SHIPPED.parent.parent / wanted, SHIPPED / wanted)


def find_policy_file(name: str, beside: Path) -> Path:
    """Look a policy file up beside the configuration, then among the shipped ones.

    ``rules/policies/hate.md`` and ``hate.md`` both name the shipped file when nothing of that name lies beside the
    configuration.

    Raises:
        PolicyError: It is in neither place.
    """
    for candidate in policy_file_places(name, beside):
        if candidate.is_file():
            return candidate
    raise PolicyError(f"no such file: {name} (looked in {beside} and among the shipped policies)")


Threshold = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
"""A score from which on something happens."""
