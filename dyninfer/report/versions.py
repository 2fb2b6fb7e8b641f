"""Versions of what a result was made with."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

# Those whose version can change a number or a file; in the order of a bug report.
PACKAGES = (
    "dyninfer",
    "torch",
    "numpy",
    "scipy",
    "pandas",
    "anndata",
    "scanpy",
    "scikit-learn",
    "POT",
    "torchdiffeq",
    "torchsde",
    "safetensors",
    "xarray",
    "zarr",
    "h5netcdf",
    "matplotlib",
)


def versions() -> dict[str, str]:
    """Return the versions of Python, the platform and the packages that matter, by name."""
    table = {"python": platform.python_version(), "platform": platform.platform()}
    for name in PACKAGES:
        try:
            table[name] = version(name)
        except PackageNotFoundError:
            # Optional packages: that they are missing can explain a result too.
            table[name] = "not installed"
    return table
