"""Functions that users give: how they can be called, and what they may return."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn


def takes_two(function: Any) -> bool:
    """Whether something can be called with a time and states, or with times and a number."""
    # A class, such as int, can be called as well.
    if not callable(function) or isinstance(function, type):
        return False
    # The call of a module takes any arguments, and hands them to its forward.
    called = function.forward if isinstance(function, nn.Module) else function
    try:
        inspect.signature(called).bind(None, None)
    except TypeError:
        return False
    except ValueError:
        # Functions written in C may not tell their arguments.
        return True
    return True


def check_dense(answer: Tensor, subject: str) -> None:
    """Refuse an answer whose numbers do not stand in rows and columns.

    Parameters
    ----------
    answer : Tensor
    subject : str
        What returned it, as it begins the message.

    Raises
    ------
    ValueError
    """
    remedy = None
    # Nested tensors come first: they tell no layout.
    if answer.is_nested:
        remedy = "a nested tensor; pad its rows"
    elif answer.is_quantized:
        remedy = "a quantized tensor; return x.dequantize()"
    elif answer.layout is not torch.strided:
        remedy = "a sparse tensor; return x.to_dense()"
    elif answer.is_meta:
        remedy = "a tensor on the device 'meta', which holds no numbers; return one that does"
    if remedy is not None:
        raise ValueError(f"{subject} returned {remedy}")
