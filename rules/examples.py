"""Examples of a policy: contents of which its author says what is right about them.

They lie beside the policy, ``hate.examples.yaml`` beside ``hate.md``, or in the file that the configuration names: a list of
contents with their stage and what is right, either whether they violate the policy or what a route does with them. The two
that are marked ``canary: true``, else the first of either kind, are the policy's canaries (`models.canaries`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from models.engine import Canary, Passage
from rules.errors import PolicyError
from rules.policy import Policy
from rules.rule import Stage
from rules.yaml_loader import Loader


class Example(BaseModel):
    """One content and what is right: ``violates``, or ``route`` and ``action``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$")
    """What reports call it besides its number."""
    text: str | None = Field(default=None, min_length=1, repr=False)
    messages: list[dict[str, Any]] | None = Field(default=None, min_length=1, repr=False)
    """A chat; at stage ``output`` its last message is judged, those before it are shown to the guard."""
    stage: Stage = Field(strict=False)
    violates: bool | None = None
    route: str | None = None
    action: Literal["forward", "flag", "rewrite", "refuse"] | None = None
    """What all of the route's rules together make of it."""
    canary: bool = False
    """Whether guards must get it right before they are ready; at most one that violates and one that does not."""

    @model_validator(mode="after")
    def _one_of_each(self) -> Example:
        if (self.text is None) is (self.messages is None):
            raise ValueError("needs text or messages, and not both")
        if (self.route is None) is not (self.action is None):
            raise ValueError("route and action belong together")
        if (self.violates is None) is (self.action is None):
            raise ValueError("needs violates, or else route and action")
        if self.canary and (self.text is None or self.violates is None):
            raise ValueError("a canary has text and violates")
        return self

    @property
    def passage(self) -> Passage | None:
        """As a guard is shown it; None for a chat, which only the proxy can read."""
        if self.text is None:
            return None
        return Passage(self.stage.surface, self.text)


@dataclass(frozen=True, slots=True)
class ExampleFile:
    """The examples of one file, and the line on which each begins."""

    path: Path
    examples: tuple[Example, ...] = ()
    lines: tuple[int, ...] = ()


class _Loader(Loader):
    """A loader for which a key that stands twice is an error: one of the two would silently win."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [key.value for key, _ in node.value]
    for i, (key, _) in enumerate(node.value):
        if key.value in keys[:i]:
            raise yaml.MarkedYAMLError(problem="a key stands twice", problem_mark=key.start_mark)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)

_EXAMPLES = TypeAdapter(tuple[Example, ...], config=ConfigDict(strict=False))


def beside(policy_file: Path) -> Path:
    """Where the examples of a policy file lie if nothing else is said."""
    return policy_file.with_name(policy_file.stem + ".examples.yaml")


def read_example_file(path: Path) -> ExampleFile:
    """Read a file of examples.

    Raises:
        FileNotFoundError: There is none.
        PolicyError: It cannot be used. The message names file and line, and quotes no example.
    """
    lines: tuple[int, ...] = ()
    try:
        text = path.read_text(encoding="utf-8")
        loader = _Loader(text)
        node = loader.get_single_node()
        items = node.value if isinstance(node, yaml.SequenceNode) else []
        lines = tuple(item.start_mark.line + 1 for item in items)
        examples = _EXAMPLES.validate_python(() if node is None else loader.construct_document(node))
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as e:
        raise PolicyError(f"cannot read {path}: {type(e).__name__}") from None
    except (yaml.YAMLError, RecursionError) as e:
        mark = getattr(e, "problem_mark", None)
        twice = getattr(e, "problem", None) == "a key stands twice"
        where = f"{path}:{mark.line + 1}" if mark else f"{path}"
        raise PolicyError(f"{where}: {'a key stands twice' if twice else 'not YAML'}") from None
    except ValidationError as e:
        raise PolicyError(_complaint(path, lines, e)) from None
    for violates in (True, False):
        marked = [i for i, e in enumerate(examples) if e.canary and e.violates is violates]
        if len(marked) > 1:
            kind = "violates" if violates else "does not violate"
            raise PolicyError(f"{path}:{lines[marked[1]]}: more than one canary that {kind}")
    ids = [example.id for example in examples]
    for i, name in enumerate(ids):
        if name is not None and name in ids[:i]:
            raise PolicyError(f"{path}:{lines[i]}: another example has the same id")
    return ExampleFile(path, examples, lines)


def _complaint(path: Path, lines: Sequence[int], error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    reason = first["msg"].removeprefix("Value error, ")
    number, *key = first["loc"] or (None,)
    if not isinstance(number, int):
        return f"{path}: must be a list of examples"
    return f"{path}:{lines[number]}: example {number + 1}: {': '.join([*map(str, key), reason])}"


def canary_of(policy: Policy, examples: Sequence[Example]) -> Canary | None:
    """The canaries of a policy; None if it has not examples of both kinds."""
    pair = []
    for violates in (True, False):
        those = [(e.canary, e.passage) for e in examples if e.violates is violates and e.passage is not None]
        if not those:
            return None
        pair.append(next((passage for marked, passage in those if marked), those[0][1]))
    return Canary(policy.for_guard(), *pair)
