"""Numbers that are not finite: which module of the user's own they came from, and when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")
Arguments = Sequence[Tensor | None]

# Arguments of a module that a message shows.
_SHOWN_ARGUMENTS = {
    "drift": ("t", "x"),
    "diffusion": ("t", "x"),
    "control": ("t", "x"),
    "decoder": ("x",),
}
# Numbers of a state in a message: more would hide the sentence.
_SHOWN_NUMBERS = 6


def traced(
    model: Any,
    run: Callable[[], Result],
    numbers: Callable[[Result], Tensor],
    when: Callable[[], str],
) -> Result:
    """What ``run()`` returns, or an error that names the module whose numbers are not finite.

    What is finite costs one look at the result. Only where it is not, or where the algebra broke
    down before, is all run once more, with a look at what every module returns.

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
        If a module returned numbers that are not finite, the model's parameters are not, or its
        algebra breaks down.
    """
    with suppress(torch.linalg.LinAlgError, ValueError):
        result = run()
        if not model.own or _is_finite(numbers(result)):
            return result
    # In this order: parameters that are not finite spoil what every module returns.
    moment = when()
    _check_parameters(model, moment)
    model.suspected = moment
    try:
        return run()
    except torch.linalg.LinAlgError as error:
        raise ValueError(
            f"{moment}, the model's numbers have grown beyond what can be computed with; "
            "lower training.learning_rate"
        ) from error
    finally:
        model.suspected = None


def check_finite(setting: str, output: Any, arguments: Arguments, when: str) -> None:
    """Raise a ValueError if a module made numbers that are not finite of numbers that are.

    Of a drift, the slope in the state counts as well: the guide of the posterior is made of it.
    """
    if not all(_is_finite(x) for x in arguments if x is not None):
        return
    parts = [output]
    if isinstance(output, tuple):
        parts = list(output)
    parts = [part for part in parts if _has_rows(part, arguments)]
    for part in parts:
        if not _is_finite(part):
            raise ValueError(
                f"{setting} returned NaN or infinity {when}{_place(setting, part, arguments)}, "
                "though all its arguments are finite. Look in it for a division by 0, and for "
                "roots, logarithms and powers of what they cannot take; where a path ran away, "
                "take shorter steps or a drift that turns back"
            )
    if setting == "drift" and parts:
        _check_slope(parts[0], arguments, when)


def setting_of(name: str) -> str:
    """Name of the setting that a part of a model comes from."""
    return "diffusion" if name == "amplitude" else name


def _check_slope(value: Tensor, arguments: Arguments, when: str) -> None:
    x = arguments[1]
    if x is None or not (value.requires_grad and x.requires_grad):
        return
    total = value.sum()
    (slope,) = torch.autograd.grad(total, x, retain_graph=True, allow_unused=True)
    if slope is not None and not _is_finite(slope):
        raise ValueError(
            f"drift has a slope of NaN or infinity {when}{_place('drift', slope, arguments)}, "
            "though it is finite there. A branch that torch.where does not take counts too: clamp "
            "what goes into its root, logarithm or division"
        )


def _place(setting: str, output: Tensor, arguments: Arguments) -> str:
    """How many rows are not finite, and the arguments of the first of them."""
    n_rows = len(output)
    is_finite = output.isfinite().reshape(n_rows, -1)
    is_bad = ~is_finite.all(1)
    n_bad = int(is_bad.sum())
    place = f" in {n_bad} of {n_rows} rows"
    names = _SHOWN_ARGUMENTS.get(setting, ())
    texts = []
    for name, x in zip(names, arguments, strict=False):
        if x is not None:
            first_bad = _text(x[is_bad][0])
            texts.append(f"{name} = {first_bad}")
    if texts:
        place += f", at {', '.join(texts)}"
    return place


def _check_parameters(model: Any, when: str) -> None:
    if all(_is_finite(p) for p in model.parameters()):
        return
    settings = sorted(setting_of(name) for name in model.own)
    names = " or ".join(settings)
    hint = ""
    if names:
        hint = f", or see where {names} has no finite gradient: a root at 0, for one"
    raise ValueError(
        f"parameters are no longer finite {when}: the step before was too long, or its gradient "
        f"not finite. Lower training.learning_rate{hint}"
    )


def _has_rows(part: Any, arguments: Arguments) -> bool:
    """Whether there is a row for every row of the arguments; else its shape is refused later."""
    first = arguments[0]
    if first is None or not isinstance(part, Tensor) or part.ndim == 0:
        return False
    return len(part) == len(first)


def _is_finite(x: Tensor) -> bool:
    return bool(x.isfinite().all())


def _text(x: Tensor) -> str:
    first = x.flatten()[:_SHOWN_NUMBERS]
    numbers = [f"{value:.4g}" for value in first.tolist()]
    if x.ndim == 0:
        return numbers[0]
    if x.numel() > _SHOWN_NUMBERS:
        numbers.append("…")
    return f"[{', '.join(numbers)}]"
