"""Types for the explicit signatures of kernels: with them a kernel is compiled once, not by use."""

from typing import Any

import numpy as np
from numba import from_dtype, types


def strided(dtype: np.dtype[np.void], readonly: bool = True) -> Any:
    """Any array (N,) of a packed dtype, strided or not: views of frames are read in place."""
    return types.Array(from_dtype(dtype), 1, "A", readonly=readonly, aligned=False)
