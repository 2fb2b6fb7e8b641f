"""The Hamiltonian of a density's motion: written here once, used by every method that learns a potential."""

from __future__ import annotations

from torch import Tensor

from dyninfer.networks import Derivatives


def hamiltonian(s: Derivatives, *, sigma: float = 0.0, growth_penalty: float | None = None) -> Tensor:
    r"""Hamiltonian density ``(n,)`` of a potential, without its time derivative.

    .. math:: H = \tfrac12 |\nabla s|^2 + \tfrac{\sigma^2}{2} \Delta s + \tfrac{\lambda}{2} s^2

    The first term moves mass with velocity ∇s, the second adds noise of amplitude σ (arXiv 2210.06662, entropic Action
    Matching), the third lets mass grow at rate λs (unbalanced Action Matching).

    Parameters
    ----------
    s : Derivatives
        Value, gradient and, where ``sigma`` is not zero, Laplacian.
    sigma : float
        Noise amplitude σ.
    growth_penalty : float, optional
        λ; None conserves mass.
    """
    energy = 0.5 * s.gradient.square().sum(1)
    if sigma:
        if s.laplacian is None:
            raise ValueError("sigma needs derivatives that hold a Laplacian; ask for it")
        energy = energy + 0.5 * sigma**2 * s.laplacian
    if growth_penalty is not None:
        energy = energy + 0.5 * growth_penalty * s.value.square()
    return energy
