"""Precisions of a backward filter at all times, and their gradient through all later steps."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from dyninfer.fractional.gaussian.chain import Chain
from dyninfer.fractional.gaussian.matrices import identity, inverse, symmetric


def precisions_of(
    chain: Chain, information: Tensor, *, may_round: bool = False
) -> tuple[Tensor, Tensor]:
    """``Λ`` at every time, and what carries ``η`` back over every step.

    They are found without a gradient. One more step of the recursion at all times at once has the
    gradient in the chain, and :class:`_Riccati` takes it through the steps.

    Parameters
    ----------
    chain : Chain
    information : Tensor, ``(L, P or 1, G, S, S)``
    may_round : bool
        Whether they may be found in doublings, where no CPU does it. These lose as many digits as
        an observation is surer than the noise of a step.
    """
    detached = Chain(*(part.detach() for part in chain))
    with torch.no_grad():
        if may_round and information.device.type != "cpu":
            late = by_doubling(detached, information)
        else:
            late = by_steps(detached, information)
        if len(late) == 1:
            # A single time has no step; the empty transitions have the shape of what carries.
            return information, chain.transition
    if not _learns(chain, information):
        return late, _carry(chain, late[1:])
    early, carry = _before(chain, late[1:])
    explicit = torch.cat([early + information[:-1], information[-1:]])
    precision = _Riccati.apply(explicit, carry.detach())
    # Anew, for a gradient in the precisions.
    return precision, _carry(chain, precision[1:])


def by_doubling(chain: Chain, information: Tensor) -> Tensor:
    """``Λ`` at every time in ``log₂ L`` doublings (Särkkä and García-Fernández 2021, eq. 12).

    An entry maps a state over some steps: ``z' = A z + N(0, C)``, and the precision ``J`` of what
    is observed on the way. After all doublings it is that of all that is observed later.
    """
    n_times = len(information)
    size = information.shape[-1]
    eye = identity(size, information)
    shape = torch.broadcast_shapes(information.shape[1:], chain.transition.shape[1:])
    # The last time leads nowhere.
    last = information.new_zeros(1, *shape)
    noise = chain.root @ chain.root.mT
    steps = _Stretch(
        way=torch.cat([chain.transition.expand(-1, *shape), last]),
        spread=torch.cat([noise.expand(-1, *shape), last]),
        precision=information.expand(-1, *shape),
    )
    reach = 1
    while reach < n_times:
        before = steps.part(slice(0, n_times - reach))
        after = steps.part(slice(reach, n_times))
        ends = steps.part(slice(n_times - reach, n_times))
        both = before.then(after, eye)
        joined = [torch.cat(pair) for pair in zip(both, ends, strict=True)]
        steps = _Stretch(*joined)
        reach *= 2
    return steps.precision


class _Stretch(NamedTuple):
    """Several steps as one, at every time from which they go on."""

    way: Tensor
    spread: Tensor
    precision: Tensor

    def part(self, rows: slice) -> _Stretch:
        """Some of the times."""
        return _Stretch(*(values[rows] for values in self))

    def then(self, after: _Stretch, eye: Tensor) -> _Stretch:
        """These steps, and those after them."""
        between = inverse(eye + self.spread @ after.precision)
        onward = after.way @ between
        reached = between @ self.way
        spread = onward @ self.spread @ after.way.mT
        precision = reached.mT @ after.precision @ self.way
        return _Stretch(
            way=onward @ self.way,
            spread=symmetric(spread) + after.spread,
            precision=symmetric(precision) + self.precision,
        )


class _Riccati(torch.autograd.Function):
    """Precisions that are known, with their gradient through all earlier times.

    A change ``δ`` of a precision changes the one before by ``Ψ δ Ψ'``, with ``Ψ`` the carry.
    """

    @staticmethod
    def forward(ctx: Any, precision: Tensor, carry: Tensor) -> Tensor:
        """Precisions ``(L, P or 1, G, S, S)`` and carries ``(L − 1, P or 1, G, S, S)``."""
        ctx.save_for_backward(carry)
        ctx.totals = _congruences
        if carry.device.type == "cpu":
            ctx.totals = _congruences_by_steps
        return precision.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """What a precision means to a loss, through all times before."""
        (carry,) = ctx.saved_tensors
        return ctx.totals(carry.mT, symmetric(grads[0])), None


def _congruences_by_steps(matrices: Tensor, shifts: Tensor) -> Tensor:
    """The same as :func:`_congruences`."""
    first, *others = shifts.unbind(0)
    entries = [first]
    for matrix, shift in zip(matrices.unbind(0), others, strict=True):
        onward = matrix @ entries[-1] @ matrix.mT
        entries.append(shift + onward)
    return torch.stack(entries)


def _congruences(matrices: Tensor, shifts: Tensor) -> Tensor:
    """``X_0 = c_0``, ``X_{n+1} = A_n X_n A_n' + c_{n+1}``, in ``log₂ L`` doublings."""
    n_times = len(shifts)
    ways = torch.cat([torch.zeros_like(shifts[:1]), matrices])
    entries = shifts
    reach = 1
    while reach < n_times:
        way = ways[reach:]
        further = entries[reach:] + way @ entries[:-reach] @ way.mT
        entries = torch.cat([entries[:reach], further])
        longer = way @ ways[:-reach]
        ways = torch.cat([ways[:reach], longer])
        reach *= 2
    return entries


def by_steps(chain: Chain, information: Tensor) -> Tensor:
    """``Λ`` at every time, one after the other."""
    observed = information.unbind(0)
    steps = zip(chain.transition.unbind(0), chain.root.unbind(0), strict=True)
    precisions = [observed[-1]]
    for n, (transition, root) in reversed(list(enumerate(steps))):
        step = chain._replace(transition=transition, root=root)
        early, _ = _before(step, precisions[-1])
        precisions.append(early + observed[n])
    precisions.reverse()
    return torch.stack(precisions)


def _before(chain: Chain, late: Tensor) -> tuple[Tensor, Tensor]:
    """Precisions before steps that end with ``late``, without what is observed there; and carry."""
    carry = _carry(chain, late)
    return symmetric(carry @ late @ chain.transition), carry


def _carry(chain: Chain, late: Tensor) -> Tensor:
    """``Φ' (I − Λ N V N')`` of steps."""
    root = chain.root
    n_states, n_noises = root.shape[-2:]
    pull = late @ root
    # The gradient of an inverse is two products, that of a factor many.
    of_noise = root.mT @ pull
    v = inverse(identity(n_noises, root) + of_noise)
    absorbed = pull @ v @ root.mT
    return chain.transition.mT @ (identity(n_states, root) - absorbed)


def _learns(chain: Chain, information: Tensor) -> bool:
    """Whether a gradient is asked for."""
    parts = (*chain, information)
    return torch.is_grad_enabled() and any(part.requires_grad for part in parts)
