"""The variants that are compared: a name, and a function from settings to an estimator that is not fitted.

A variant's values are the first that were tried, not tuned on a held-out time; other values are chosen with ``--inner`` and
given with ``--set``. Lengths are those of the scaled problem: z-scores, or the largest standard deviation of a feature.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import dyninfer as di

SIGMA = 0.3  # noise amplitude, per square root of a day
GROWTH_PENALTY = 0.1
FLOW_SIGMA, FLOW_GROWTH_PENALTY = (
    0.05,
    1.0,
)  # about those of the flows' reference: 0.1 over its whole time, and 1
DEFINING = ("sigma", "growth_penalty")  # a setting of these makes another variant


class MissingMethodError(Exception):
    """The package does not have what a variant needs."""


class Variant(NamedTuple):
    """How to build an estimator, and whether its mass can change: only then is it given the masses."""

    build: Callable[..., Any]
    grows: bool = False
    simulate: dict[str, Any] = {}


def estimator(name: str, **defaults: Any) -> Callable[..., Any]:
    """Function from settings to the estimator ``di.<name>``; ``training__<name>`` sets one of the training loop."""

    def build(**settings: Any) -> Any:
        for own in set(DEFINING) & set(settings) - set(defaults):
            raise ValueError(f"this variant has no {own}; set it for one that is defined by it")
        return public(name)(**with_training(defaults | settings))

    return build


def flow(*terms: str) -> Callable[..., Any]:
    """Function from settings to a Wasserstein Lagrangian flow; settings of the terms are taken out of the others."""

    def build(**settings: Any) -> Any:
        method = public("WassersteinLagrangianFlow")
        lagrangian = reduce(add, (LAGRANGIANS[term](settings) for term in terms))
        return method(lagrangian=lagrangian, **with_training(settings))

    return build


LAGRANGIANS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "OT": lambda settings: public("OptimalTransport")(),
    "SB": lambda settings: public("SchrodingerBridge")(sigma=settings.pop("sigma", FLOW_SIGMA)),
    "UOT": lambda settings: public("UnbalancedTransport")(
        growth_penalty=settings.pop("growth_penalty", FLOW_GROWTH_PENALTY),
        **taken(settings, "growth__"),
    ),
    "DataManifold": lambda settings: public("DataManifold")(**taken(settings, "manifold__")),
    "MeanAcceleration": lambda settings: public("MeanAcceleration")(
        **taken(settings, "acceleration__")
    ),
}

VARIANTS: dict[str, Variant] = {
    "am:plain": Variant(estimator("ActionMatching")),
    "am:cubic": Variant(estimator("ActionMatching", interpolation="cubic")),
    "am:independent": Variant(estimator("ActionMatching", coupling="independent")),
    "am:entropic": Variant(estimator("ActionMatching", sigma=SIGMA)),
    "am:unbalanced": Variant(
        estimator("ActionMatching", growth_penalty=GROWTH_PENALTY), grows=True
    ),
    "am:both": Variant(
        estimator("ActionMatching", sigma=SIGMA, growth_penalty=GROWTH_PENALTY), grows=True
    ),
    "wlf:OT": Variant(flow("OT")),
    "wlf:SB": Variant(flow("SB")),
    "wlf:UOT": Variant(flow("UOT"), grows=True),
    "wlf:UOT+SB": Variant(flow("UOT", "SB"), grows=True),
    "wlf:OT+DataManifold": Variant(flow("OT", "DataManifold")),
    "wlf:UOT+DataManifold": Variant(flow("UOT", "DataManifold"), grows=True),
    "wlf:OT+MeanAcceleration": Variant(flow("OT", "MeanAcceleration")),
    "si:OT-CFM": Variant(estimator("StochasticInterpolant", coupling="ot", gamma="none")),
    "si:unbalanced, no noise": Variant(
        estimator("StochasticInterpolant", coupling="unbalanced", gamma="none"), grows=True
    ),
    "si:OT": Variant(estimator("StochasticInterpolant", coupling="ot")),
    "si:independent": Variant(estimator("StochasticInterpolant", coupling="independent")),
    "si:OT, noise 0.1": Variant(
        estimator("StochasticInterpolant", coupling="ot"), simulate={"noise": 0.1}
    ),
    "si:growth first, no noise": Variant(
        estimator("StochasticInterpolant", coupling="growth_first", gamma="none"), grows=True
    ),
    "am:growth first": Variant(
        estimator("ActionMatching", growth_penalty=1.0, coupling="growth_first"), grows=True
    ),
    "si:unbalanced": Variant(estimator("StochasticInterpolant", coupling="unbalanced"), grows=True),
}


def public(name: str) -> Any:
    """Return ``di.<name>``, or the Lagrangian of that name."""
    from dyninfer.transport import lagrangians

    for holder in (di, lagrangians):
        if hasattr(holder, name):
            return getattr(holder, name)
    raise MissingMethodError(f"dyninfer {di.__version__} has no {name} yet")


def taken(settings: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Take the settings with a prefix out of the others, and the prefix off."""
    names = [name for name in settings if name.startswith(prefix)]
    return {name.removeprefix(prefix): settings.pop(name) for name in names}


def with_training(settings: dict[str, Any]) -> dict[str, Any]:
    """Gather what begins with ``training__`` into one object."""
    rest = dict(settings)
    training = taken(rest, "training__")
    return rest | ({"training": di.Training(**training)} if training else {})
