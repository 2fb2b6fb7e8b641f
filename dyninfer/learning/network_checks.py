"""What a network of the user's own must answer, looked at before it is trained."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from dyninfer.learning.functions import check_dense
from dyninfer.learning.random import stream
from dyninfer.learning.settings import OWN_MODULE, brief

# States of which some are asked together and some alone.
_N_STATES = 4
# Size of what is added to the weights before rows are compared: layers that begin with zeros, as
# the last ones of many networks do, would hide everything before them.
_SHAKE = 0.1
# Rounding of single precision in sums over some thousand products.
_ROUNDING = 1e-3
_KINKED = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.Hardtanh, nn.Hardswish)


def check_network(module: Any, n_features: int, n_conditions: int, *, potential: bool) -> None:
    """Raise an error that says what a module cannot be trained or simulated with.

    Parameters
    ----------
    module : nn.Module
        Lazy layers take their sizes here.
    n_features : int
    n_conditions : int
        Length of the condition, which is given as the third argument; 0 where there is none.
    potential : bool
        Whether it shall answer with ``(n,)``, and not with ``(n, d)``.

    Raises
    ------
    TypeError, ValueError
    """
    check_module(module)
    _check_layers(module, potential)
    weight = next(module.parameters(), None)
    if weight is None or not any(p.requires_grad for p in module.parameters()):
        raise ValueError(f"network ({_kind(module)}) has no weights to learn")
    inputs = _inputs(n_features, n_conditions, weight.dtype)
    shape = (_N_STATES,) if potential else (_N_STATES, n_features)
    with torch.enable_grad():
        answer = _answer(module, inputs)
        _check_answer(module, answer, shape, weight.dtype)
        _check_gradient(module, answer, inputs[1])
        shaken = _shaken(module)
        _check_rows(shaken, inputs)
        if potential:
            _check_bend(shaken, inputs)


def check_module(module: Any) -> None:
    """Raise a TypeError unless it is a module, and a ValueError where a file left its place."""
    if isinstance(module, str) and module.startswith(OWN_MODULE):
        kind = module.removeprefix(OWN_MODULE)
        raise ValueError(
            f"the model has a network of your own ({kind}), which no file holds: load it with "
            "dyninfer.load(path, network=...)"
        )
    if isinstance(module, nn.Module):
        return
    remedy = ""
    if isinstance(module, type) and issubclass(module, nn.Module):
        remedy = f"; give an instance of it: network={module.__name__}(...)"
    raise TypeError(f"network must be a torch module, found {brief(module)}{remedy}")


def _check_layers(module: nn.Module, potential: bool) -> None:
    for name, layer in module.named_modules():
        kind = f"{type(layer).__name__} ({name!r})"
        tracks = getattr(layer, "track_running_stats", False)
        if isinstance(layer, _BatchNorm) or tracks:
            raise ValueError(
                f"network has a {kind}, by which a state's field depends on the other states of "
                "its batch; use GroupNorm or LayerNorm"
            )
        if isinstance(layer, _DropoutNd) and layer.p > 0:
            raise ValueError(
                f"network has a {kind}, which draws at random in every call; leave it out, and "
                "use weight_decay or early stopping against overfitting"
            )
        if potential and isinstance(layer, _KINKED):
            raise ValueError(
                f"network has a {kind}: the gradient of such a potential jumps, and its second "
                "derivatives are zero; use SiLU, Softplus or Tanh"
            )


def _inputs(n_features: int, n_conditions: int, dtype: torch.dtype) -> list[Tensor]:
    generator = stream(0, "network check")
    t = torch.linspace(0.1, 0.9, _N_STATES, dtype=dtype)
    states = torch.randn(_N_STATES, n_features, generator=generator, dtype=dtype)
    x = states.requires_grad_()
    inputs = [t, x]
    if n_conditions:
        c = torch.rand(_N_STATES, n_conditions, generator=generator, dtype=dtype)
        inputs.append(c)
    return inputs


def _answer(module: nn.Module, inputs: list[Tensor]) -> Any:
    names = ", ".join(
        f"{name} {tuple(value.shape)}" for name, value in zip("txc", inputs, strict=False)
    )
    try:
        return module(*inputs)
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise ValueError(
            f"network ({_kind(module)}) failed on {names}: {type(error).__name__}: {reason}"
        ) from error


def _check_answer(
    module: nn.Module, answer: Any, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    answer_kind = type(answer).__name__
    if isinstance(answer, Tensor):
        check_dense(answer, f"network ({_kind(module)})")
        answer_kind = f"shape {tuple(answer.shape)}"
    if not isinstance(answer, Tensor) or answer.shape != shape:
        raise ValueError(
            f"network ({_kind(module)}) must return a tensor of shape {shape} for {_N_STATES} "
            f"states; it returned {answer_kind}"
        )
    if answer.dtype != dtype:
        raise ValueError(
            f"network ({_kind(module)}) must answer in the dtype of its weights and inputs, "
            f"{dtype}; it returned {answer.dtype}"
        )
    if not bool(answer.isfinite().all()):
        raise ValueError(
            f"network ({_kind(module)}) is not finite at standard normal states; look at how its "
            "weights begin"
        )


def _check_gradient(module: nn.Module, answer: Tensor, x: Tensor) -> None:
    gradient = None
    if answer.requires_grad:
        total = answer.sum()
        (gradient,) = torch.autograd.grad(total, x, allow_unused=True)
    if gradient is None:
        raise ValueError(
            f"network ({_kind(module)}) does not depend on x in a way that can be differentiated; "
            "make its answer of torch operations on x, without detach or NumPy"
        )


def _check_rows(module: nn.Module, inputs: list[Tensor]) -> None:
    """Compare states that are asked together with the same asked again, and alone."""
    with torch.no_grad():
        together = module(*inputs)
        again = module(*inputs)
        if not torch.equal(together, again):
            raise ValueError(
                f"network ({_kind(module)}) answers differently when it is asked twice; leave out "
                "what draws at random or remembers"
            )
        rows = []
        for k in range(_N_STATES):
            row_inputs = [value[k : k + 1] for value in inputs]
            row = _answer(module, row_inputs)
            rows.append(row)
        same_shape = all(row.shape == together[:1].shape for row in rows)
        alone = torch.cat(rows) if same_shape else None
    size = 1 + together.abs().max()
    if alone is None or bool(((alone - together).abs() > _ROUNDING * size).any()):
        raise ValueError(
            f"network ({_kind(module)}) answers differently for a state alone and among others; "
            "every row of its answer must depend on its own row of t and x only"
        )


def _check_bend(module: nn.Module, inputs: list[Tensor]) -> None:
    """Refuse a potential without second derivatives, as those of ReLU are."""
    x = inputs[1]
    total = module(*inputs).sum()
    (gradient,) = torch.autograd.grad(total, x, create_graph=True)
    bend = None
    if gradient.requires_grad:
        (bend,) = torch.autograd.grad(gradient.sum(), x, allow_unused=True)
    if bend is None or not bool(bend.any()):
        raise ValueError(
            f"network ({_kind(module)}) is a potential without second derivatives in x; its "
            "activations must be smooth: SiLU, Softplus or Tanh, and not ReLU"
        )


def _shaken(module: nn.Module) -> nn.Module:
    """A copy whose weights are all moved a little."""
    shaken = copy.deepcopy(module)
    generator = stream(0, "network check")
    with torch.no_grad():
        for weight in shaken.parameters():
            noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            weight.add_(noise.to(weight.dtype), alpha=_SHAKE)
    return shaken


def _kind(module: nn.Module) -> str:
    return type(module).__name__
