"""Births and deaths against Poisson and geometric laws and the formula of passage times."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2, poisson

from dyninfer.simulators.birth_death import BirthDeath


def test_stationary_laws_are_poisson_and_geometric():
    gene = BirthDeath(birth=3.0, death=0.5, largest=40)
    np.testing.assert_allclose(
        gene.process().stationary().numpy(), poisson.pmf(np.arange(41), 6.0), atol=1e-12
    )
    queue = BirthDeath(birth=0.8, death=1.3, largest=7, per_individual=False)
    law = (0.8 / 1.3) ** np.arange(8)
    np.testing.assert_allclose(queue.process().stationary().numpy(), law / law.sum(), atol=1e-12)
    np.testing.assert_allclose(queue.stationary(), law / law.sum(), atol=1e-12)


def test_passage_times_follow_the_formula():
    queue = BirthDeath(birth=0.8, death=1.3, largest=7, per_individual=False)
    assert queue.mean_passage_time() == pytest.approx(136.38828754, rel=1e-9)
    gene = BirthDeath()
    solved = float(gene.process().mean_first_passage(9)[2])
    assert gene.mean_passage_time(2, 9) == pytest.approx(solved, rel=1e-10)


def test_paths_relax_as_the_number_of_a_gene_does():
    gene = BirthDeath(birth=3.0, death=0.5, largest=40)
    states = np.stack(gene.paths([0.0, 1.0], 20_000, seed=0).states)
    correlation = np.corrcoef(states.T)[0, 1]
    assert correlation == pytest.approx(np.exp(-0.5), abs=0.02)
    counts, expected = np.bincount(states[:, 1], minlength=41), 20_000 * gene.stationary()
    kept = expected > 5
    statistic = ((counts - expected)[kept] ** 2 / expected[kept]).sum()
    assert statistic < chi2.isf(1e-3, kept.sum() - 1)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="birth must be positive"):
        BirthDeath(birth=-1.0)
    with pytest.raises(ValueError, match="target must lie above start"):
        BirthDeath().mean_passage_time(5, 5)
