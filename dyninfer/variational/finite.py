"""Numbers that are not finite: which module of the user's own they came from, and when."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import torch
from torch import Tensor

Found = TypeVar("Found")
_ARGUMENTS = {"drift": ("t", "x"), "diffusion": ("t", "x"), "control": ("t", "x"), "decoder": ("x",)}
_SHOWN = 6  # numbers of a state in a message


def traced(
    model: Any, run: Callable[[], Found], numbers: Callable[[Found], Tensor], when: Callable[[], str]
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
    """Raise a ValueError if the module ``setting`` made numbers that are not finite of numbers that are."""
    parts = [p for p in (found if isinstance(found, tuple) else (found,)) if _has_rows(p, given)]
    if all(_finite(part) for part in parts) or not all(_finite(x) for x in given if x is not None):
        return
    part = next(part for part in parts if not _finite(part))
    bad = ~part.isfinite().reshape(len(part), -1).all(1)
    names = _ARGUMENTS.get(setting, ())
    at = ", ".join(
        f"{name} = {_text(x[bad][0])}" for name, x in zip(names, given, strict=False) if x is not None
    )
    raise ValueError(
        f"{setting} returned NaN or infinity {when}, in {int(bad.sum())} of {len(bad)} rows, though all it was given is "
        f"finite{f': at {at}' if at else ''}. Look in it for a division by 0, and for roots, logarithms and powers of what "
        "they cannot take; where a path ran away, take shorter steps or a drift that turns back"
    )


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
    return isinstance(part, Tensor) and part.ndim > 0 and given[0] is not None and len(part) == len(given[0])


def _finite(x: Tensor) -> bool:
    return bool(x.isfinite().all())


def _text(x: Tensor) -> str:
    numbers = [f"{value:.4g}" for value in x.flatten()[:_SHOWN].tolist()]
    more = ", …" if x.numel() > _SHOWN else ""
    return f"[{', '.join(numbers)}{more}]" if x.ndim else numbers[0]
