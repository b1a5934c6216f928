"""The layout of the code: which package may import which, and who owns their names."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("proxy", "rules", "models")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
SEAM = {"models.engine", "models.errors"}


def imports(path: Path) -> Iterator[str]:
    """Full names of the modules that a file imports, wherever in it: ``from models import engine`` is `models.engine`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module is not None
            if node.module in PACKAGES:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module


def ours(path: Path, *packages: str) -> set[str]:
    return {name for name in imports(path) if name.partition(".")[0] in packages}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [p for p in MODULES if name_of(p).startswith("models/")], ids=name_of)
def test_models_know_neither_rules_nor_the_proxy(path: Path) -> None:
    assert ours(path, "rules", "proxy") == set()


@pytest.mark.parametrize("path", [p for p in MODULES if name_of(p).startswith("rules/")], ids=name_of)
def test_rules_know_models_by_their_seam_only_and_the_proxy_not_at_all(path: Path) -> None:
    assert ours(path, "proxy") == set()
    assert ours(path, "models") <= SEAM


def test_llama_cpp_is_imported_by_one_folder() -> None:
    assert {name_of(p.parent) for p in MODULES if ours(p, "llama_cpp")} == {"models/llama"}


def test_nothing_of_the_product_imports_tests_or_tools() -> None:
    assert [name_of(p) for p in MODULES if ours(p, "tests", "tools", "benchmarks")] == []


def test_importing_the_service_loads_no_model_library() -> None:
    code = (
        "import sys, proxy.commands, proxy.commands_serve, proxy.__main__, rules.screen\n"
        "heavy = {'llama_cpp', 'torch', 'transformers', 'numpy'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    run_python(code)


def test_help_and_wrong_usage_are_told_before_anything_is_loaded() -> None:
    run_python(
        "import sys, proxy.__main__\nsys.exit(', '.join({'aiohttp', 'pydantic', 'structlog'} & set(sys.modules)) or 0)"
    )


def run_python(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_nobody_else_owns_the_names_of_the_packages() -> None:
    try:
        distribution("safeguard")
    except PackageNotFoundError:
        pytest.skip("safeguard is not installed here (pip install .): its package names have no owner to compare")
    owners = packages_distributions()
    others = {name: sorted(set(owners.get(name, ())) - {"safeguard"}) for name in PACKAGES}
    assert others == {name: [] for name in PACKAGES}, "another distribution ships a package of the same name"
