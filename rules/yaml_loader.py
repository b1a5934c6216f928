"""The YAML loader under all others: what cannot be built from its text is an error of the YAML, with its line."""

from __future__ import annotations

from typing import Any

import yaml


class Loader(yaml.SafeLoader):
    """SafeLoader whose constructors raise `yaml.YAMLError` only.

    PyYAML's trust what matched a pattern or was tagged: a number of thousands of digits, ``!!bool perhaps`` or a 99th month
    come out of them as ValueError, KeyError or AttributeError.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Build the value of a node."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError):
            problem = f"not a value of {node.tag}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None
