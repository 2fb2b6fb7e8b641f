"""Numbers that are not finite: which module of the user's own they came from, and when."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import torch
from torch import Tensor

Found = TypeVar("Found")
_ARGUMENTS = {
    "drift": ("t", "x"),
    "diffusion": ("t", "x"),
    "control": ("t", "x"),
    "decoder": ("x",),
}
_SHOWN = 6  # numbers of a state in a message


def traced(
    model: Any,
    run: Callable[[], Found],
    numbers: Callable[[Found], Tensor],
    when: Callable[[], str],
) -> Found:
    """What ``run()`` returns; if the modules of the user's own led it to ``numbers`` that are not finite, an error names one.

    What is finite costs one look at the result. Only where it is not, or where the algebra broke down before, is all run
    once more, with a look at what every module returns.

    Parameters
    ----------
    model : NeuralModel
    run : callable
        Gives the same again when called again.
    numbers : callable
        What must be finite of its result.
    when : callable
        Says it for the message: ``"in a simulation"``.

    Raises
    ------
    ValueError
        If a module returned numbers that are not finite, the model's parameters are not, or its algebra breaks down.
    """
    with suppress(torch.linalg.LinAlgError, ValueError):
        found = run()
        if not model.own or bool(numbers(found).isfinite().all()):
            return found
    moment = when()
    _check_parameters(model, moment)
    model.suspected = moment
    try:
        return run()
    except torch.linalg.LinAlgError as error:
        raise ValueError(
            f"{moment}, the model's numbers have grown beyond what can be computed with; lower training.learning_rate"
        ) from error
    finally:
        model.suspected = None


def check_finite(setting: str, found: Any, given: tuple[Tensor | None, ...], when: str) -> None:
    """Raise a ValueError if the module ``setting`` made numbers that are not finite of numbers that are.

    Of a drift, the slope in the state counts as well: the guide of the posterior is made of it.
    """
    parts = [p for p in (found if isinstance(found, tuple) else (found,)) if _has_rows(p, given)]
    if not all(_finite(x) for x in given if x is not None):
        return
    for part in parts:
        if not _finite(part):
            raise ValueError(
                f"{setting} returned NaN or infinity {when}{_place(setting, part, given)}, though all it was given is finite. "
                "Look in it for a division by 0, and for roots, logarithms and powers of what they cannot take; "
                "where a path ran away, take shorter steps or a drift that turns back"
            )
    if (
        setting == "drift"
        and parts
        and given[1] is not None
        and parts[0].requires_grad
        and given[1].requires_grad
    ):
        (slope,) = torch.autograd.grad(
            parts[0].sum(), given[1], retain_graph=True, allow_unused=True
        )
        if slope is not None and not _finite(slope):
            raise ValueError(
                f"{setting} has a slope of NaN or infinity {when}{_place(setting, slope, given)}, though it is finite there. "
                "A branch that torch.where does not take counts too: clamp what goes into its root, logarithm or division"
            )


def _place(setting: str, found: Tensor, given: tuple[Tensor | None, ...]) -> str:
    """How many rows are not finite, and what the first of them was asked."""
    bad = ~found.isfinite().reshape(len(found), -1).all(1)
    names = _ARGUMENTS.get(setting, ())
    pairs = [(name, x) for name, x in zip(names, given, strict=False) if x is not None]
    at = ", ".join(f"{name} = {_text(x[bad][0])}" for name, x in pairs)
    return f" in {int(bad.sum())} of {len(bad)} rows{f', at {at}' if at else ''}"


def _check_parameters(model: Any, when: str) -> None:
    if all(_finite(p) for p in model.parameters()):
        return
    names = " or ".join(sorted(map(setting_of, model.own)))
    own = f", or see where {names} has no finite gradient: a root at 0, for one" if names else ""
    raise ValueError(
        f"parameters are no longer finite {when}: the step before was too long, or its gradient not finite. "
        f"Lower training.learning_rate{own}"
    )


def setting_of(name: str) -> str:
    """Name of the setting that a part of a model comes from."""
    return "diffusion" if name == "amplitude" else name


def _has_rows(part: Any, given: tuple[Tensor | None, ...]) -> bool:
    """Whether something has a row for every row of what was given; what has not is refused for its shape."""
    return (
        isinstance(part, Tensor)
        and part.ndim > 0
        and given[0] is not None
        and len(part) == len(given[0])
    )


def _finite(x: Tensor) -> bool:
    return bool(x.isfinite().all())


def _text(x: Tensor) -> str:
    numbers = [f"{value:.4g}" for value in x.flatten()[:_SHOWN].tolist()]
    more = ", …" if x.numel() > _SHOWN else ""
    return f"[{', '.join(numbers)}{more}]" if x.ndim else numbers[0]
