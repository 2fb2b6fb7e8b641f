"""Markov jump processes on finitely many states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dyninfer.data import display
from dyninfer.data.arrays import as_list
from dyninfer.jumps.process import chain, checks
from dyninfer.jumps.process.description import description
from dyninfer.learning.settings import brief

States = str | int | Sequence[str | int]


class MarkovJump(nn.Module):
    """A Markov jump process (continuous-time Markov chain) on finitely many states.

    Its distribution solves the master equation ``dp/dt = p Q``. Everything is float64,
    differentiable, and computed for a whole batch of generators at once. Reducible chains are never
    truncated: undefined quantities raise an error, infinite ones are ``inf``.

    Parameters
    ----------
    generator : Tensor or array, ``(..., S, S)``
        ``Q[i, j]`` is the rate of the jump from ``i`` to ``j``, per unit of time; rows sum to zero.
        With ``breaks``, ``(..., k, S, S)``: one generator per period.
    initial : Tensor or array, ``(..., S)``, optional
        Distribution at time 0; by default the stationary distribution.
    state_names : sequence of S str, optional
        By default the numbers of the states.
    breaks : sequence of k − 1 floats, optional
        Increasing times at which the next generator takes over.

    Raises
    ------
    ValueError
        If the generator has negative or non-finite rates, or rows that do not sum to zero.

    Examples
    --------
    >>> from dyninfer.jumps.process import MarkovJump
    >>> gate = MarkovJump([[-1.0, 1.0], [3.0, -3.0]], state_names=["closed", "open"])
    >>> gate
    MarkovJump: 2 states
        closed>open  1
        open>closed  3
    >>> gate.stationary().tolist()
    [0.75, 0.25]
    """

    generator: Tensor
    breaks: Tensor
    initial: Tensor | None

    def __init__(
        self,
        generator: Any,
        initial: Any = None,
        state_names: Sequence[str] | None = None,
        breaks: Any = None,
    ):
        super().__init__()
        q = checks.as_generator(generator)
        self.register_buffer("generator", q)
        self.register_buffer("breaks", checks.as_breaks(breaks, q))
        self.register_buffer("initial", checks.as_distribution(initial, q))
        n_states = q.shape[-1]
        self.state_names = checks.as_names(state_names, n_states)

    @classmethod
    def from_rates(cls, rates: Any, **keywords: Any) -> MarkovJump:
        """Make a process from jump rates ``(..., S, S)``; the diagonal is filled in."""
        square = checks.as_square(rates, "rates")
        return cls(chain.with_diagonal(square), **keywords)

    def __repr__(self) -> str:
        return display.block(*description(self))

    def _repr_html_(self) -> str:
        return display.table(*description(self))

    @property
    def n_states(self) -> int:
        """Number of states S."""
        return self.generator.shape[-1]

    @property
    def batch_shape(self) -> torch.Size:
        """Leading dimensions of the batch of processes."""
        if len(self.breaks):
            # The dimension of the periods is none of the batch.
            return self.generator.shape[:-3]
        return self.generator.shape[:-2]

    def at(self, t: float) -> MarkovJump:
        """Process with the generator at time ``t``, constant in time.

        It starts from its stationary distribution.
        """
        q = self.generator
        moment = checks.as_finite(t, "t", q)
        if len(self.breaks):
            is_past = self.breaks <= moment
            period = int(is_past.sum())
            q = q.select(-3, period)
        return MarkovJump(q, state_names=self.state_names)

    def transition(self, dt: Tensor | float, start: Tensor | float = 0.0) -> Tensor:
        """Transition probabilities ``(..., S, S)`` from time ``start`` to ``start + dt``.

        Row ``i`` starts in ``i``. ``dt`` and ``start`` broadcast against the batch; ``start``
        matters only if the generator changes in time.
        """
        dt = checks.as_finite(dt, "dt", self.generator)
        if not bool((dt >= 0).all()):
            least = float(dt.min())
            raise ValueError(f"dt must not be negative, found {least:g}")
        checks.check_jumps(self.generator, dt)
        if not len(self.breaks):
            return chain.transition_matrix(self.generator, dt)
        start = checks.as_finite(start, "start", dt)
        stop = start + dt
        breaks = self.breaks.tolist()
        lows = [-torch.inf, *breaks]
        highs = [*breaks, torch.inf]
        p = chain.identity(self.generator)
        generators = self.generator.unbind(-3)
        periods = zip(generators, lows, highs, strict=True)
        for q, low, high in periods:
            first = start.clamp(min=low)
            last = stop.clamp(max=high)
            # Negative where none of the time lies in this period.
            dwell_time = (last - first).clamp(min=0)
            p = p @ chain.transition_matrix(q, dwell_time)
        return p

    def start_distribution(self) -> Tensor:
        """Distribution at time 0 ``(..., S)``: ``initial``, or the stationary one by default."""
        if self.initial is None:
            return self.stationary()
        return self.initial

    def marginal(self, t: Tensor | float) -> Tensor:
        """Distribution at time ``t`` ``(..., S)``, ``t`` broadcast against the batch."""
        row = self.start_distribution().unsqueeze(-2)
        p = self.transition(t)
        return (row @ p).squeeze(-2)

    def stationary(self) -> Tensor:
        """Stationary distribution ``(..., S)``; states that are left for good have probability 0.

        Raises
        ------
        ValueError
            If there are several closed classes, and so several stationary distributions.
        """
        self._check_one_class("stationary")
        return chain.stationary_distribution(self.generator)

    def mean_first_passage(self, target: States) -> Tensor:
        """Mean time ``(..., S)`` until one of the ``target`` states is entered.

        It is inf if that may never happen.
        """
        q = self._constant("mean_first_passage")
        is_target = self._mask(target, "target")
        return chain.mean_first_passage(q, is_target)

    def first_passage_matrix(self) -> Tensor:
        """Mean first-passage times ``(..., S, S)`` from row to column."""
        q = self._constant("first_passage_matrix")
        return chain.first_passage_matrix(q)

    def relaxation_times(self) -> Tensor:
        """``−1 / Re λ`` of the eigenvalues but the first zero ``(..., S − 1)``, the slowest first.

        Each additional closed class has its own stationary distribution and counts as one infinite
        time.
        """
        q = self._constant("relaxation_times")
        eigenvalues = torch.linalg.eigvals(q)
        decay = eigenvalues.real
        slowest_first, _ = decay.sort(-1, descending=True)
        decay_rates = -slowest_first[..., 1:]
        times = 1 / decay_rates
        # By their number: rounding would make the zero eigenvalues slightly positive or negative.
        n_infinite = chain.n_closed_classes(q) - 1
        n_modes = self.n_states - 1
        number = torch.arange(n_modes, device=q.device)
        is_infinite = number < n_infinite.unsqueeze(-1)
        return times.masked_fill(is_infinite, torch.inf)

    def committor(self, a: States, b: States) -> Tensor:
        """Probability ``(..., S)`` of entering ``b`` before ``a``.

        Raises
        ------
        ValueError
            If ``a`` and ``b`` overlap, or a state reaches neither.
        """
        q = self._constant("committor")
        in_a = self._mask(a, "a")
        in_b = self._mask(b, "b")
        in_both = in_a & in_b
        if bool(in_both.any()):
            raise ValueError(
                f"a and b must have no state in common, found {brief(a)} and {brief(b)}"
            )
        is_end = in_a | in_b
        duration = chain.mean_first_passage(q.detach(), is_end)
        is_endless = duration.isinf()
        never = is_endless.reshape(-1, self.n_states)
        if bool(never.any()):
            names = self._names(never.any(0))
            raise ValueError(f"committor does not exist for {names}, which may never reach a or b")
        # The probability is harmonic outside of both, 0 in a and 1 in b.
        boundary_value = in_b.to(q)
        return chain.solve_outside(q, is_end, boundary_value)

    def fluxes(self) -> Tensor:
        """Stationary jumps per unit of time ``π_i Q_ij`` ``(..., S, S)``; 0 on the diagonal."""
        self._check_one_class("fluxes")
        return chain.stationary_fluxes(self.generator)

    def entropy_production(self) -> Tensor:
        """Stationary entropy-production rate ``(...)`` in nats per unit of time.

        It is inf if a jump is irreversible.
        """
        self._check_one_class("entropy_production")
        return chain.entropy_production_rate(self.generator)

    def detailed_balance_residual(self) -> Tensor:
        """Largest net flux ``|π_i Q_ij − π_j Q_ji|`` relative to the largest flux ``(...)``."""
        flux = self.fluxes()
        net = flux - flux.mT
        largest = flux.amax((-1, -2))
        sizes = net.abs()
        largest_net = sizes.amax((-1, -2))
        # Where nothing ever jumps, nothing is out of balance.
        divisor = torch.where(largest > 0, largest, 1.0)
        return largest_net / divisor

    def is_detailed_balance(self, tolerance: float = 1e-9) -> Tensor:
        """Whether the stationary state looks the same in reversed time ``(...)`` bool."""
        return self.detailed_balance_residual() <= tolerance

    def embedded_chain(self) -> Tensor:
        """Probabilities of the next state ``(..., S, S)``; an absorbing state stays."""
        off = chain.off_diagonal(self.generator)
        out = off.sum(-1, keepdim=True)
        is_absorbing = out == 0
        stays = chain.identity(off)
        # Divided by 1 and not by 0: the gradient of what is not taken must not be NaN.
        leaves = off / out.masked_fill(is_absorbing, 1.0)
        return torch.where(is_absorbing, stays, leaves)

    def holding_times(self) -> Tensor:
        """Mean time of a visit to each state ``(..., S)``; inf for an absorbing one."""
        exit_rates = chain.exit_rates(self.generator)
        # The diagonal of an absorbing state may be −0, of which the reciprocal would be −inf.
        return 1 / exit_rates.abs()

    def restrict(self, states: States) -> MarkovJump:
        """Process on a subset of states, without the jumps that leave it.

        ``initial`` is conditioned on them.
        """
        numbers = checks.as_numbers(states, self.state_names, "states")
        rows = self.generator[..., numbers, :]
        breaks = None
        if len(self.breaks):
            breaks = self.breaks
        return MarkovJump.from_rates(
            rates=rows[..., numbers],
            initial=self._conditioned(numbers),
            state_names=[self.state_names[number] for number in numbers],
            breaks=breaks,
        )

    def _conditioned(self, numbers: list[int]) -> Tensor | None:
        """Initial probabilities of some states, given that it is one of them."""
        if self.initial is None:
            return None
        initial = self.initial[..., numbers]
        total = initial.sum(-1, keepdim=True)
        is_possible = total > 0
        if not bool(is_possible.all()):
            raise ValueError(
                "states hold no initial probability; set initial again after restricting"
            )
        return initial / total

    def lump(
        self, groups: Sequence[States], state_names: Sequence[str] | None = None
    ) -> MarkovJump:
        """Process on groups of states, with the stationary fluxes between them.

        ``Q_AB = Σ_A Σ_B π_i Q_ij / π_A``: the stationary distribution is kept exactly, the dynamics
        only if the process is lumpable.

        Raises
        ------
        ValueError
            If a state is in no group or in two, or a group is never visited.
        """
        member = self._membership(groups)
        fluxes = self.fluxes()
        flux = member @ fluxes @ member.T
        weight = self.stationary() @ member.T
        is_visited = weight > 0
        if not bool(is_visited.all()):
            raise ValueError(
                "groups hold a group whose stationary probability is 0; join it to another"
            )
        initial = None
        if self.initial is not None:
            initial = self.initial @ member.T
        return MarkovJump.from_rates(
            rates=flux / weight.unsqueeze(-1),
            initial=initial,
            state_names=state_names,
        )

    def _membership(self, groups: Sequence[States]) -> Tensor:
        """1 where a group has a state ``(group, S)``, else 0."""
        groups = as_list(groups, "groups", "a group of states each")
        n_groups = len(groups)
        member = self.generator.new_zeros(n_groups, self.n_states)
        for row, group in zip(member, groups, strict=True):
            numbers = checks.as_numbers(group, self.state_names, "groups")
            row[numbers] = 1.0
        times_named = member.sum(0)
        if not bool((times_named == 1).all()):
            raise ValueError(f"groups must hold every state once, found {brief(groups)}")
        return member

    def communicating_classes(self) -> list[tuple[tuple[int, ...], bool]]:
        """Classes of states that reach each other, and whether each is closed (never left).

        Raises
        ------
        ValueError
            If this is a batch, whose members may have different classes.
        """
        q = self._constant("communicating_classes")
        if q.ndim > 2:
            raise ValueError(
                "communicating_classes looks at one process; take one: MarkovJump(generator[k])"
            )
        reach = chain.reachable(q)
        together = reach & reach.T
        is_closed = chain.recurrent(q).tolist()
        # Every state tells its class: the key makes one of them.
        classes = {}
        for row, closed in zip(together, is_closed, strict=True):
            states = tuple(_numbers(row))
            classes[states] = closed
        return list(classes.items())

    def _constant(self, method: str) -> Tensor:
        if len(self.breaks):
            raise ValueError(
                f"{method} needs a generator that is constant in time; take a period: process.at(t)"
            )
        return self.generator

    def _check_one_class(self, method: str) -> None:
        q = self._constant(method)
        is_reducible = chain.n_closed_classes(q) > 1
        if not bool(is_reducible.any()):
            return
        place = is_reducible.nonzero()[0].tolist()
        one = MarkovJump(q[tuple(place)])
        classes = []
        for states, is_closed in one.communicating_classes():
            if is_closed:
                names = ", ".join(self.state_names[number] for number in states)
                classes.append(f"{{{names}}}")
        where = ""
        if place:
            where = f" of process {place}"
        raise ValueError(
            f"{method} is not unique: the closed classes {', '.join(classes)}{where} never reach "
            "each other; restrict() to one of them, or give initial"
        )

    def _mask(self, states: States, argument: str) -> Tensor:
        numbers = checks.as_numbers(states, self.state_names, argument)
        mask = self.generator.new_zeros(self.n_states, dtype=torch.bool)
        mask[numbers] = True
        return mask

    def _names(self, mask: Tensor) -> str:
        numbers = _numbers(mask)
        names = [self.state_names[number] for number in numbers]
        return display.listed(names)


def _numbers(mask: Tensor) -> list[int]:
    """Which entries of a mask ``(S,)`` are true."""
    (numbers,) = mask.nonzero(as_tuple=True)
    return numbers.tolist()
