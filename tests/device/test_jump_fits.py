"""Fits of generators run where their data are, to the rates of a fit on the CPU."""

from __future__ import annotations

from dataclasses import replace

import torch
from device.cases import gate, visits
from device.pretend import WAITS_OF_HOST, pretend_gpu

from dyninfer.jumps import HiddenProblem, fit_hidden, fit_panel
from dyninfer.jumps.likelihood.hidden import HiddenPaths
from dyninfer.jumps.likelihood.observation import LabelNoise
from dyninfer.jumps.likelihood.panel import panel_counts
from dyninfer.jumps.likelihood.scheme import RateScheme
from dyninfer.jumps.posterior.optimise import value_and_slope


def hidden():
    """Labels that may be wrong."""
    data = HiddenPaths.of(visits())
    return HiddenProblem(data, LabelNoise.uniform(3, 0.1), RateScheme.free(3))


def test_a_panel_is_fitted_where_its_counts_are():
    counts = panel_counts(visits(), 3)
    expected = fit_panel(counts)
    with pretend_gpu() as traffic:
        fit = fit_panel(counts.to("cuda"))
        assert fit.theta.device.type == "cuda"
        assert not traffic.total("mixture"), traffic.places("mixture")
        generator = fit.generator.cpu()
    assert torch.allclose(generator, expected.generator, rtol=1e-9)


def test_hidden_states_are_fitted_where_their_paths_are():
    problem = hidden()
    start = gate().generator
    expected = fit_hidden(problem, start)
    with pretend_gpu() as traffic:
        there = replace(problem, data=problem.data.to("cuda"))
        fit = fit_hidden(there, start)
        assert fit.theta.device.type == "cuda"
        assert not traffic.total("mixture"), traffic.places("mixture")
        likelihood = fit.log_likelihood.cpu()
        generator = fit.generator.cpu()
    # Another search, by recursions that are compiled for a CPU, to the same maximum.
    assert torch.allclose(likelihood, expected.log_likelihood, rtol=1e-9)
    assert torch.allclose(generator, expected.generator, rtol=1e-4)


def test_no_recursion_over_times_waits():
    problem = hidden()
    with pretend_gpu() as traffic:
        there = replace(problem, data=problem.data.to("cuda")).where_data_are()
        theta = there.start(gate().generator.to("cuda"))
        value_and_slope(there.log_posterior, theta)
        traffic.clear()
        value_and_slope(there.log_posterior, theta)
        # How often a matrix is squared, and that no label is too large: twice, whatever the length.
        assert traffic.total(*WAITS_OF_HOST) <= 2, traffic.places(*WAITS_OF_HOST)
        assert not traffic.total("upload", "mixture"), traffic.places("upload", "mixture")
