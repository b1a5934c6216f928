"""YAML with line numbers, without YAML 1.1's surprises.

What differs from `yaml.safe_load`: a key that stands twice in one mapping is an error; only ``true`` and ``false`` are
booleans, so that ``mode: off`` is the word *off*; numbers are decimal (no ``1_000``, no sexagesimal ``12:30``), dates
stay text; ``${NAME}`` and ``${NAME:-default}`` in strings are filled from the environment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from rules.yaml_loader import Loader

Path = tuple[str | int, ...]
MAX_NODES = 100_000
"""Aliases are expanded; this bounds what a small file can grow to."""

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


class YamlError(ValueError):
    """The file is not usable YAML; ``line`` says where (1-based; 0 if unknown)."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class YamlFile:
    """A parsed file: plain data, and the line on which each value stands."""

    data: Any
    lines: Mapping[Path, int] = field(repr=False)

    def line_of(self, path: Path) -> int:
        """Line of the value at ``path``, or of the nearest thing around it that the file has."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


class _Loader(Loader):
    """A loader whose plain scalars resolve by YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own protocol


for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("merge", r"^(?:<<)$", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


def parse_yaml(text: str, environ: Mapping[str, str]) -> YamlFile:
    """Parse a configuration file.

    Args:
        text: The file's content.
        environ: Where ``${NAME}`` is looked up.

    Raises:
        YamlError: Not YAML, a duplicate key, a variable that is not set, or too many nodes.
    """
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as e:
        raise YamlError(f"not valid YAML: {e.reason}", text.count("\n", 0, e.position) + 1) from None
    try:
        node = loader.get_single_node()
        if node is None:
            return YamlFile({}, {(): 1})
        builder = _Builder(loader, environ)
        return YamlFile(builder.build(node, ()), builder.lines)
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        raise YamlError(f"not valid YAML: {e.problem or e.context}", mark.line + 1 if mark else 0) from None
    except yaml.YAMLError as e:
        raise YamlError(f"not valid YAML: {str(e).splitlines()[0]}") from None
    except RecursionError:
        raise YamlError("nested too deeply") from None
    finally:
        loader.dispose()


class _Builder:
    def __init__(self, loader: _Loader, environ: Mapping[str, str]) -> None:
        self._loader = loader
        self._environ = environ
        self._nodes = 0
        self._open: set[int] = set()
        self.lines: dict[Path, int] = {}

    def build(self, node: yaml.Node, path: Path) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        self._count(line)
        if id(node) in self._open:
            raise YamlError("an alias contains itself", line)
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self.build(child, (*path, i)) for i, child in enumerate(node.value)]
            return self._scalar(node)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, value in self._pairs(node).values():
            here = (*path, key.value)
            self.lines[here] = key.start_mark.line + 1
            out[key.value] = self.build(value, here)
        return out

    def _pairs(self, node: yaml.MappingNode) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Keys and values of a mapping with ``<<: *base`` merged in; what stands here wins over what is merged.

        PyYAML's own merging changes the node, which an alias may name a second time.
        """
        seen: dict[str, int] = {}
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            self._count(key.start_mark.line + 1)
            if key.tag == "tag:yaml.org,2002:merge":
                sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for source in reversed(sources):  # the first of a list wins
                    if not isinstance(source, yaml.MappingNode):
                        raise YamlError("only mappings can be merged with <<", key.start_mark.line + 1)
                    merged |= self._pairs(source)
                continue
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise YamlError("a key must be a plain word", line)
            if key.value in seen:
                raise YamlError(f"duplicate key {key.value!r} (first on line {seen[key.value]})", line)
            seen[key.value] = line
        return merged | {key.value: (key, value) for key, value in node.value if key.value in seen}

    def _count(self, line: int) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise YamlError(f"more than {MAX_NODES} values: an alias expands too often", line)

    def _scalar(self, node: yaml.Node) -> Any:
        value = self._loader.construct_object(node)
        if not isinstance(value, str) or "${" not in value:
            return value
        line = node.start_mark.line + 1

        def fill(match: re.Match[str]) -> str:
            found = self._environ.get(match["name"]) or match["default"]
            if found is None:
                raise YamlError(
                    f"environment variable {match['name']} is not set; ${{{match['name']}:-default}} gives it a default",
                    line,
                )
            return found

        return _VARIABLE.sub(fill, value)
