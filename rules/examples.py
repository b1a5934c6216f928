"""Examples of a policy: contents of which its author says whether they violate it.

They lie beside the policy, ``hate.examples.yaml`` beside ``hate.md``: a list of texts with their stage and what is
right. The two that are marked ``canary: true``, else the first of either kind, are the policy's canaries
(`models.canaries`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from models.engine import Canary, Passage
from rules.content import Surface
from rules.errors import PolicyError
from rules.policy import Policy
from rules.rule import Stage


class Example(BaseModel):
    """One content and what is right."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    text: str = Field(min_length=1, repr=False)
    stage: Stage = Field(strict=False)
    violates: bool
    canary: bool = False
    """Whether guards must get it right before they are ready; at most one that violates and one that does not."""

    @property
    def passage(self) -> Passage:
        """As a guard is shown it."""
        return Passage(Surface.USER if self.stage is Stage.INPUT else Surface.ASSISTANT, self.text)


_EXAMPLES = TypeAdapter(tuple[Example, ...], config=ConfigDict(strict=False))


def read_examples(policy_file: Path) -> tuple[Example, ...]:
    """The examples beside a policy file; none where there is no such file.

    Raises:
        PolicyError: There is one and it cannot be used. The message quotes no example.
    """
    path = policy_file.with_name(policy_file.stem + ".examples.yaml")
    try:
        examples = _EXAMPLES.validate_python(yaml.safe_load(path.read_text(encoding="utf-8")) or ())
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as e:
        raise PolicyError(f"cannot read {path}: {type(e).__name__}") from None
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        raise PolicyError(f"{path}{f':{mark.line + 1}' if mark else ''}: not YAML") from None
    except ValidationError as e:
        first = e.errors(include_url=False, include_input=False)[0]
        raise PolicyError(f"{path}: {'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}") from None
    for violates in (True, False):
        if sum(e.canary and e.violates is violates for e in examples) > 1:
            kind = "violates" if violates else "does not violate"
            raise PolicyError(f"{path}: more than one canary that {kind}")
    return examples


def canary_of(policy: Policy, examples: Sequence[Example]) -> Canary | None:
    """The canaries of a policy; None if it has not examples of both kinds."""
    pair = []
    for violates in (True, False):
        those = [e for e in examples if e.violates is violates]
        if not those:
            return None
        pair.append(next((e for e in those if e.canary), those[0]).passage)
    return Canary(policy.for_guard(), *pair)
