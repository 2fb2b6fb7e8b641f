"""Recursions in doublings, as devices run them, are those that go step by step."""

from __future__ import annotations

import pytest
import torch

from dyninfer.fractional.gaussian import precisions, recursion
from dyninfer.fractional.gaussian.chain import Chain

DOUBLE = torch.float64


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=DOUBLE)


@pytest.mark.parametrize("n_times", [1, 2, 3, 8, 13])
def test_doublings_have_the_entries_of_steps(n_times):
    matrices, shifts = normal(n_times - 1, 4, 3, 3), normal(n_times, 4, 3, 2)
    expected = recursion.by_steps(matrices, shifts)
    assert torch.allclose(recursion.by_doubling(matrices, shifts), expected, rtol=1e-11)


@pytest.mark.parametrize("n_matrices", [1, 2], ids=["shared", "own"])
@pytest.mark.parametrize("solver", [recursion.by_steps, recursion.by_doubling])
def test_gradients_of_a_recursion_are_those_of_differences(n_matrices, solver, monkeypatch):
    monkeypatch.setattr(recursion, "_solver", lambda values: solver)
    matrices = normal(3, n_matrices, 2, 2, 2).requires_grad_()
    shifts = normal(4, 2, 2, 2, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(recursion.follow, (matrices, shifts))


def chain_of(n_steps, sharp):
    """A chain of two groups, and what is observed of its first state, now and then."""
    root = 0.3 * normal(n_steps, 1, 2, 3, 2, seed=1)
    transition = 0.5 * torch.eye(3, dtype=DOUBLE) + 0.2 * normal(n_steps, 1, 2, 3, 3)
    chain = Chain(normal(2, 3), normal(2, 3, 2), transition, root)
    information = torch.zeros(n_steps + 1, 4, 2, 3, 3, dtype=DOUBLE)
    information[::3, ..., 0, 0] = sharp
    return chain, information


@pytest.mark.parametrize("n_steps", [1, 2, 11])
@pytest.mark.parametrize(("sharp", "rounding"), [(1.0, 1e-12), (1e6, 1e-6)])
def test_precisions_in_doublings_are_those_of_steps(n_steps, sharp, rounding):
    chain, information = chain_of(n_steps, sharp)
    expected = precisions.by_steps(chain, information)
    found = precisions.by_doubling(chain, information)
    assert torch.allclose(found, expected, rtol=rounding, atol=rounding)


@pytest.mark.parametrize("doubles", [False, True])
def test_gradients_of_precisions_are_those_of_differences(doubles, monkeypatch):
    if doubles:
        monkeypatch.setattr(precisions, "by_steps", precisions.by_doubling)
        monkeypatch.setattr(precisions, "_congruences_by_steps", precisions._congruences)
    chain, information = chain_of(3, 2.0)

    def precision_and_carry(transition, root, information):
        # Of what is symmetric, which is all that a precision can be.
        of_pairs = information + information.mT
        moved = chain._replace(transition=transition, root=root)
        return precisions.precisions_of(moved, of_pairs)

    inputs = (chain.transition, chain.root, information[:, :1] / 2)
    inputs = tuple(values.clone().requires_grad_() for values in inputs)
    assert torch.autograd.gradcheck(precision_and_carry, inputs, atol=1e-6, fast_mode=True)
