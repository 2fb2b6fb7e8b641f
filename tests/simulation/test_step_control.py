"""The steps of Tsit5 are those of the book, written out for one path and one number at a time."""

import math

import pytest
import torch

from dyninfer import Diffusion, simulate
from dyninfer.simulation.solvers import Tsit5
from dyninfer.simulation.solvers.tsit5_tableau import ERROR, A, C

RTOL = 1e-5
ATOL = 1e-7


def rms(values):
    return math.sqrt(sum(value**2 for value in values) / len(values))


class Reference:
    """Hairer, Nørsett & Wanner, Solving ODEs I, II.4, and Hairer & Wanner, II, IV.2."""

    def __init__(self, slope, growth, start, span):
        self.slope, self.growth, self.span = slope, growth, span
        self.unit = [abs(value) for value in start]
        self.times = []

    def rates(self, t, x):
        self.times.append(t)
        return self.slope(t, x), self.growth(t, x)

    def tolerance(self, a, b):
        pairs = zip(self.unit, a, b, strict=True)
        return [ATOL * unit + RTOL * max(abs(p), abs(q)) for unit, p, q in pairs]

    def over(self, gap, a, b):
        return rms([value / tol for value, tol in zip(gap, self.tolerance(a, b), strict=True)])

    def first_step(self, x, f):
        size = max(self.over(x, x, x), 1)
        slope = self.over(f, x, x) * self.span
        h0 = min(0.01 * size / slope, 1)
        ahead = [p + h0 * self.span * q for p, q in zip(x, f, strict=True)]
        g, _ = self.rates(h0 * self.span, ahead)
        change = [p - q for p, q in zip(g, f, strict=True)]
        bend = self.over(change, x, x) * self.span / h0
        h = min(100 * h0, (0.01 / max(slope, bend)) ** 0.2, 1)
        return max(h, 1e-6) * self.span

    def run(self, x):
        t, w, last, is_retrying = 0.0, 0.0, 1.0, False
        f, r = self.rates(t, x)
        h = self.first_step(x, f)
        while t < self.span:
            step = min(h, self.span - t)
            slopes, growths = [f], [r]
            for c, row in zip(C, A, strict=True):
                y = [
                    p + step * sum(a * s[k] for a, s in zip(row, slopes, strict=True))
                    for k, p in enumerate(x)
                ]
                g, s = self.rates(t + c * step, y)
                slopes.append(g)
                growths.append(s)
            v = w + step * sum(a * s for a, s in zip(A[-1], growths[:-1], strict=True))
            gap = [step * sum(e * s[k] for e, s in zip(ERROR, slopes, strict=True)) for k in (0, 1)]
            of_weight = step * sum(e * s for e, s in zip(ERROR, growths, strict=True))
            of_weight /= ATOL + RTOL * max(abs(w), abs(v))
            error = max(self.over(gap, x, y), abs(of_weight), 1e-10)
            is_good = error <= 1
            memory = last**0.04 if is_good else 1
            factor = 0.85 * error ** -(0.2 - 0.03) * memory
            factor = min(max(factor, 0.2), 10)
            if is_retrying or not is_good:
                factor = min(factor, 1)
            h = step * factor
            is_retrying = not is_good
            if is_good:
                t, x, w, f, r = t + step, y, v, slopes[-1], growths[-1]
                last = max(error, 1e-4)
        return x, w


def bump(t):
    return 300 * math.exp(-(((t - 0.6) / 0.01) ** 2))


PROBLEMS = {
    # Its steps change little.
    "circle": (lambda t, x: [x[1], -4 * x[0]], lambda t, x: 0.0),
    # A kick that steps run into, and are rejected.
    "kick": (lambda t, x: [-x[0] + bump(t), x[0] - x[1]], lambda t, x: 0.0),
    # What grows asks for shorter steps than what moves.
    "growth": (lambda t, x: [-0.1 * x[0], 0.1 * x[1]], lambda t, x: 3 * math.sin(9 * t) + x[0]),
    # It comes to rest, where steps grow without bound but for the largest stretch.
    "rest": (lambda t, x: [-9 * x[0], -8 * x[1]], lambda t, x: 0.0),
}


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("unit", [1.0, 1e6])
def test_steps_are_those_of_the_book(name, unit):
    slope, growth = PROBLEMS[name]
    start = [1.0, -0.5]
    reference = Reference(slope, growth, start, 1.5)
    end, log_weight = reference.run(start)
    times = []

    def by_row(field, t, x):
        rows = zip(t.tolist(), x.tolist(), strict=True)
        return torch.tensor([field(s / unit, row) for s, row in rows], dtype=x.dtype) / unit

    def drift(t, x):
        times.append(float(t[0]) / unit)
        return by_row(slope, t, x)

    def rate(t, x):
        return by_row(growth, t, x)

    process = Diffusion(drift=drift, growth=rate)
    x = torch.tensor([start], dtype=torch.float64)
    run = simulate(process, x, [0.0, 1.5 * unit], solver=Tsit5(rtol=RTOL, atol=ATOL))
    # What comes before asks for the shapes of the fields.
    own = times[-len(reference.times) :]
    torch.testing.assert_close(own, reference.times, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(run.states[0, 1].tolist(), end, rtol=1e-9, atol=1e-12)
    assert float(run.log_weights[0, 1]) == pytest.approx(log_weight, rel=1e-9, abs=1e-12)
