from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from models.llama.backend import repacks_safely


def test_what_the_proxy_imports_does_not_load_llama_cpp() -> None:
    names = ["engine", "errors", "specs", "prompt", "labels", "judge", "windows", "cutting", "ledger", "scheduler"]
    names += ["host", "catalog", "remote", "factory"]
    code = f"import sys, {', '.join(f'models.{name}' for name in names)}; sys.exit('llama_cpp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=False).returncode == 0


@pytest.mark.parametrize(
    ("features", "ours", "safely"),
    [
        pytest.param("0.3.36 CPU : AVX512 = 1 | REPACK = 1 | ", False, True, id="without AMX"),
        pytest.param("0.3.36 CPU : AMX_INT8 = 1 | REPACK = 1 | ", False, False, id="with AMX"),
        pytest.param(
            "0.3.36 CPU : AMX_INT8 = 1 | REPACK = 1 | ", True, True, id="with AMX, compiled as make install does"
        ),
    ],
)
def test_weights_are_not_laid_out_anew_by_another_library_with_amx(features: str, ours: bool, safely: bool) -> None:
    assert repacks_safely(features, loads_whole_tiles=ours) is safely
