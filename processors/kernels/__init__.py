"""Numeric kernels that processors share, in numba over explicit arrays."""
