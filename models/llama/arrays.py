"""Arrays as llama.cpp reads them: token ids and positions have 32 bits."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

Int32Array = npt.NDArray[np.int32]


def int32_pointer(array: Int32Array) -> Any:
    """Where an array begins, for a native call.

    Args:
        array: Stays alive and in its place as long as llama.cpp may look at it.

    Returns:
        A ``POINTER(c_int32)``.
    """
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
