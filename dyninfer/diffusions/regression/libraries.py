"""Libraries of functions whose sum is a drift or a squared noise amplitude."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, product
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor, nn

from dyninfer.learning.scaling import Scaling
from dyninfer.learning.settings import OWN_MODULE, Settings, brief, check_count

Exponents = tuple[int, ...]
# Columns of a library are stored for every observation.
_MOST_FUNCTIONS = 10_000


@dataclass(kw_only=True, repr=False, eq=False)
class Library(Settings, ABC):
    """Base of the libraries: functions, and the facts about the data that they need."""

    def check(self, name: str) -> None:
        """Raise an error that names an invalid setting."""

    def facts(self, x: ndarray) -> dict[str, Any]:
        """Facts about states ``(n, d)`` on which the functions depend, as plain data."""
        return {}

    @abstractmethod
    def functions(self, facts: dict[str, Any], scaling: Scaling) -> Functions:
        """Functions of scaled states."""


class Functions(nn.Module, ABC):
    """Functions of scaled states ``(n, d)``, one a column ``(n, m)``."""

    @abstractmethod
    def names(self, features: Sequence[str]) -> list[str]:
        """Name of every function ``(m,)``."""

    def in_user_units(self) -> ndarray:
        """Matrix ``(m, m)`` from coefficients of these functions to those that are named."""
        return np.eye(len(self))

    @abstractmethod
    def __len__(self) -> int: ...


@dataclass(kw_only=True, repr=False, eq=False)
class Polynomials(Library):
    """All products of features up to a degree.

    From degree 2 on, a state beyond the range of the data counts as the nearest one within it,
    because extrapolated cubics send paths to infinity.

    Parameters
    ----------
    degree : int
        0 is a constant.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.KramersMoyal(drift=di.Polynomials(degree=1))
    KramersMoyal(drift=Polynomials(degree=1), squared_noise=Polynomials(degree=0))
    """

    degree: int = 3

    def check(self, name: str) -> None:
        """Raise an error that names an invalid degree."""
        self.check_kinds(f"{name}.")
        if self.degree < 0:
            raise ValueError(f"{name}.degree must not be negative, found {brief(self.degree)}")

    def facts(self, x: ndarray) -> dict[str, Any]:
        """Range of every feature."""
        n_features = x.shape[1]
        n_functions = math.comb(n_features + self.degree, self.degree)
        if n_functions > _MOST_FUNCTIONS:
            raise ValueError(
                f"polynomials of degree {self.degree} in {n_features} features are {n_functions} "
                "functions; lower the degree, or give fewer features"
            )
        low = x.min(0)
        high = x.max(0)
        return {"low": low.tolist(), "high": high.tolist()}

    def functions(self, facts: dict[str, Any], scaling: Scaling) -> Monomials:
        """Monomials of standardised states."""
        return Monomials(self.degree, facts, scaling)


class Monomials(Functions):
    """Products of powers of scaled states ``z``, the constant first."""

    degree: int
    origin: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, degree: int, facts: dict[str, Any], scaling: Scaling):
        super().__init__()
        self.scaling = scaling
        self.degree = degree
        self.starts_at_zero = False
        n_features = scaling.n_features
        self.exponents = exponents(n_features, degree)
        # Powers are taken from here, in scaled states: with 0, the mean of the data.
        origin = torch.zeros(n_features, dtype=torch.float64)
        self.register_buffer("origin", origin)
        for name in ("low", "high"):
            bound = torch.tensor(facts[name], dtype=torch.float64)
            scaled = scaling.states(bound)
            self.register_buffer(name, scaled)

    def start_at_zero(self) -> None:
        """Take powers from the zero of the user's states on, as a sparse law is written."""
        zero = torch.zeros_like(self.origin)
        self.origin.copy_(self.scaling.states(zero))
        self.starts_at_zero = True

    def forward(self, z: Tensor) -> Tensor:
        """Columns ``(n, m)``."""
        if self.degree > 1:
            low = self.low.to(z)
            high = self.high.to(z)
            z = z.clamp(low, high)
        from_origin = z - self.origin.to(z)
        features = from_origin.unbind(1)
        columns = []
        for powers in self.exponents:
            column = torch.ones_like(features[0])
            factors = zip(features, powers, strict=True)
            for feature, power in factors:
                if power:
                    column = column * feature**power
            columns.append(column)
        return torch.stack(columns, dim=1)

    def names(self, features: Sequence[str]) -> list[str]:
        """Products such as ``x0 x1^2``, and 1."""
        return [_product_name(powers, features) for powers in self.exponents]

    def in_user_units(self) -> ndarray:
        """Expansion of products of ``(x − c) / s`` in products of ``x``."""
        shift = self.scaling.user_states(self.origin).numpy()
        if self.starts_at_zero:
            # Rounding would give a coefficient to every function that was left out.
            shift = np.zeros_like(shift)
        one = torch.ones_like(self.origin)
        scale = self.scaling.user_displacements(one).numpy()
        n = len(self)
        matrix = np.zeros((n, n))
        for column, powers in enumerate(self.exponents):
            choices = [range(power + 1) for power in powers]
            for lower in product(*choices):
                row = self.exponents.index(lower)
                matrix[row, column] = _binomial(powers, lower, shift, scale)
        return matrix

    def __len__(self) -> int:
        return len(self.exponents)


def exponents(n_features: int, degree: int) -> list[Exponents]:
    """Powers of every feature in all products up to a degree, the lower degrees first."""
    features = range(n_features)
    every = []
    for k in range(degree + 1):
        products = combinations_with_replacement(features, k)
        for factors in products:
            powers = [factors.count(feature) for feature in features]
            every.append(tuple(powers))
    return every


def _binomial(powers: Exponents, lower: Exponents, shift: ndarray, scale: ndarray) -> float:
    """Coefficient of ``Π x^lower`` in ``Π ((x − shift) / scale)^powers``."""
    coefficient = 1.0
    factors = zip(powers, lower, shift, scale, strict=True)
    for power, low, centre, unit in factors:
        n_ways = math.comb(power, low)
        rest = power - low
        constant = (-centre) ** rest
        coefficient *= n_ways * constant
        coefficient /= unit**power
    return coefficient


def _product_name(powers: Exponents, features: Sequence[str]) -> str:
    factors = []
    pairs = zip(features, powers, strict=True)
    for feature, power in pairs:
        if power == 1:
            factors.append(feature)
        elif power > 1:
            factors.append(f"{feature}^{power}")
    return " ".join(factors) or "1"


@dataclass(kw_only=True, repr=False, eq=False)
class Bins(Library):
    """Piecewise constant functions on boxes of equal size that cover the data.

    A box with fewer than ``min_count`` observations joins the nearest box that has enough. So does
    everything beyond the data.

    Parameters
    ----------
    n_bins : int
        Number of boxes along every feature.
    min_count : int

    Examples
    --------
    >>> import dyninfer as di
    >>> di.KramersMoyal(drift=di.Bins(n_bins=10))
    KramersMoyal(drift=Bins(n_bins=10), squared_noise=Polynomials(degree=0))
    """

    n_bins: int = 20
    # A drift is then known to σ / √(10 Δ), and a squared amplitude to 45 %.
    min_count: int = 10

    def check(self, name: str) -> None:
        """Raise an error that names an invalid number."""
        check_count(self.n_bins, f"{name}.n_bins")
        check_count(self.min_count, f"{name}.min_count")

    def facts(self, x: ndarray) -> dict[str, Any]:
        """Centres and widths of the boxes."""
        low = x.min(0)
        ranges = x.max(0) - low
        widths = ranges / self.n_bins
        # A feature that never changes needs one box, of any width.
        widths[widths == 0] = 1.0
        depth = (x - low) / widths
        places = depth.astype(int)
        # The largest value belongs to the last box.
        last = self.n_bins - 1
        places = np.minimum(places, last)
        boxes, counts = np.unique(places, axis=0, return_counts=True)
        is_full = counts >= self.min_count
        full = boxes[is_full]
        if len(full) == 0:
            raise ValueError(
                f"no box holds min_count={self.min_count} observations, at most {counts.max()} "
                f"lie in one; lower n_bins={self.n_bins}, or use polynomials"
            )
        if len(full) > _MOST_FUNCTIONS:
            raise ValueError(
                f"there are {len(full)} boxes; lower n_bins={self.n_bins}, or give fewer features"
            )
        middles = full + 0.5
        centres = low + middles * widths
        return {"centres": centres.tolist(), "widths": widths.tolist()}

    def functions(self, facts: dict[str, Any], scaling: Scaling) -> Boxes:
        """Indicators of the boxes."""
        return Boxes(facts, scaling)


class Boxes(Functions):
    """Indicators: 1 for the box with the nearest centre, in widths, and 0 for the others."""

    centres: Tensor
    widths: Tensor

    def __init__(self, facts: dict[str, Any], scaling: Scaling):
        super().__init__()
        self.scaling = scaling
        centres = torch.tensor(facts["centres"], dtype=torch.float64)
        widths = torch.tensor(facts["widths"], dtype=torch.float64)
        centres = scaling.states(centres)
        widths = scaling.displacements(widths)
        self.register_buffer("centres", centres)
        self.register_buffer("widths", widths)

    def forward(self, z: Tensor) -> Tensor:
        """Columns ``(n, m)``."""
        widths = self.widths.to(z)
        centres = self.centres.to(z)
        distance = torch.cdist(z / widths, centres / widths)
        nearest = distance.argmin(1)
        indicator = nn.functional.one_hot(nearest, len(centres))
        return indicator.to(z)

    def names(self, features: Sequence[str]) -> list[str]:
        """The centre of every box."""
        centres = self.scaling.user_states(self.centres).numpy()
        names = []
        for centre in centres:
            pairs = zip(features, centre, strict=True)
            values = [f"{name}={x:.6g}" for name, x in pairs]
            place = ", ".join(values)
            names.append(f"near {place}")
        return names

    def __len__(self) -> int:
        return len(self.centres)


class OwnFunctions(Functions):
    """Functions that the user wrote: ``x (n, d) -> (n, m)``, in the user's units."""

    def __init__(self, function: Callable[[Tensor], Tensor], scaling: Scaling):
        super().__init__()
        self.scaling = scaling
        # A module of the user's is registered here, and its weights are saved.
        self.function = function
        middle = torch.zeros(2, scaling.n_features, dtype=torch.float64)
        columns = self(middle)
        is_table = isinstance(columns, Tensor) and columns.ndim == 2
        if not is_table or len(columns) != 2:
            raise ValueError(
                "the functions of a library must take states (n, d) and return a tensor (n, m); "
                f"for 2 states they return {brief(columns)}"
            )
        self.n_functions = columns.shape[1]

    def forward(self, z: Tensor) -> Tensor:
        """Columns ``(n, m)``."""
        x = self.scaling.user_states(z)
        return self.function(x)

    def names(self, features: Sequence[str]) -> list[str]:
        """Numbers of the functions."""
        return [f"function {number}" for number in range(len(self))]

    def __len__(self) -> int:
        return self.n_functions


def check_library(library: Any, name: str) -> None:
    """Raise an error that names a setting unless it is a library or a function."""
    if isinstance(library, Library):
        library.check(name)
        return
    if isinstance(library, str) and library.startswith(OWN_MODULE):
        raise ValueError(
            f"the model has functions of your own as {name}, which no file holds: load it "
            f"with dyninfer.load(path, {name}=...)"
        )
    if isinstance(library, type) or not callable(library):
        raise TypeError(
            f"{name} must be Polynomials(...), Bins(...) or a function of states (n, d) that "
            f"returns (n, m); found {brief(library)}"
        )


def library_of(setting: Any, facts: dict[str, Any], scaling: Scaling) -> Functions:
    """Functions that a setting stands for."""
    if isinstance(setting, Library):
        return setting.functions(facts, scaling)
    return OwnFunctions(setting, scaling)
