"""Transition-path theory of jump processes: against deeptime, and closed forms."""

import numpy as np
import pytest

import dyninfer as di

RATES = [
    [0, 0.9, 0.2, 0, 0.1],
    [0.3, 0, 0.5, 0.4, 0],
    [0.1, 0.7, 0, 0.6, 0.3],
    [0, 0.2, 0.4, 0, 0.8],
    [0.05, 0, 0.1, 0.5, 0],
]
FIVE = di.MarkovJump.from_rates(RATES)
LINE = di.MarkovJump([[-1, 1, 0], [1, -2, 1], [0, 1, -1]], state_names=["a", "b", "c"])


def values(table):
    return table["value"].to_numpy()


def test_committors_fluxes_rates_and_pathways_are_those_of_deeptime():
    """deeptime 0.5.0, of the chain of I + Q / 10."""
    paths = di.tl.transition_paths(FIVE, 0, 4, share=1)
    forward = [0.0, 0.5887005649717515, 0.7231638418079094, 0.8621468926553673, 1.0]
    backward = [1.0, 0.4916790494277387, 0.31517297194679966, 0.1781383530486545, 0.0]
    np.testing.assert_allclose(values(paths.committors), forward + backward, atol=1e-12)
    net = np.zeros((5, 5))
    for row in paths.fluxes.itertuples():
        net[int(row.source), int(row.target)] = row.value
    expected = np.zeros((5, 5))
    expected[0, [1, 2, 4]] = 0.037467576016227855, 0.010227873171416428, 0.007071615434924642
    expected[1, [2, 3]] = 0.012989714937198332, 0.024477861079029516
    expected[2, [3, 4]] = 0.010105135081822295, 0.01311245302679247
    expected[3, 4] = 0.034582996160851816
    np.testing.assert_allclose(net, expected, atol=1e-14)
    flux, rate, share = values(paths.rates)
    assert flux == pytest.approx(0.054767064622568924, rel=1e-12)
    assert rate == pytest.approx(0.22501641497045308, rel=1e-12)
    pi = FIVE.stationary().numpy()
    assert share == pytest.approx((pi * np.array(forward) * backward).sum(), rel=1e-12)
    assert list(paths.pathways["pathway"]) == [
        "0 > 1 > 3 > 4",
        "0 > 1 > 2 > 4",
        "0 > 2 > 3 > 4",
        "0 > 4",
        "0 > 2 > 4",
    ]
    strengths = [0.0244778610, 0.0129897149, 0.0101051350, 0.0070716154, 0.0001227380]
    np.testing.assert_allclose(values(paths.pathways), strengths, atol=1e-10)
    assert paths.pathways["share"].sum() == pytest.approx(1, rel=1e-12)


def test_three_states_in_a_line_have_a_sixth_of_a_path_per_unit():
    paths = di.tl.transition_paths(LINE, "a", "c")
    assert values(paths.rates)[0] == pytest.approx(1 / 6, rel=1e-12)
    # Half the time in b, and all of it in a, was last spent in a.
    assert values(paths.rates)[1] == pytest.approx(1 / 3, rel=1e-12)
    assert values(paths.rates)[2] == pytest.approx(1 / 12, rel=1e-12)


def test_the_rate_of_two_states_is_that_of_the_jump():
    gate = di.MarkovJump([[-1.5, 1.5], [4.0, -4.0]])
    flux, rate, share = values(di.tl.transition_paths(gate, 0, 1).rates)
    assert (flux, rate, share) == pytest.approx((1.5 * 4 / 5.5, 1.5, 0.0))


def test_fewer_pathways_cover_a_part_of_the_flux():
    pathways = di.tl.transition_paths(FIVE, 0, 4, share=0.6).pathways
    assert len(pathways) == 2
    assert pathways["share"].sum() > 0.6


def test_the_strongest_pathway_is_told_however_small_the_share():
    few = di.tl.transition_paths(FIVE, 0, 4, share=1e-300).pathways
    every = di.tl.transition_paths(FIVE, 0, 4, share=1).pathways
    assert list(few["pathway"]) == [every["pathway"].iloc[0]]


def test_intervals_hold_the_values_of_the_truth():
    run = di.simulate(LINE, None, 0.25 * np.arange(40), n_paths=100, seed=4)
    names = list(LINE.state_names)
    data = di.Paths(times=[run.times] * 100, states=list(run.states.numpy()), state_names=names)
    model = di.MarkovJumpInference(observation="exact", jumps="birth-death", prior_width=None)
    paths = di.tl.transition_paths(model.fit(data, progress=False), "a", "c", level=0.99)
    for table, truth in ((paths.rates, [1 / 6, 1 / 3, 1 / 12]), (paths.pathways, [1 / 6])):
        assert (table["low"] < truth).all()
        assert (table["high"] > truth).all()


def test_what_cannot_be_asked_is_named():
    one_way = di.MarkovJump.from_rates([[0, 1, 0], [0, 0, 1], [0, 0, 0]])
    cases = [
        (lambda: di.tl.transition_paths(one_way, 0, 2), "left for good"),
        (lambda: di.tl.transition_paths(LINE, "a", ["a", "c"]), "no state in common"),
        (lambda: di.tl.transition_paths(LINE, "a", "d"), "there are a, b, c"),
        (lambda: di.tl.transition_paths(LINE, "a", "c", share=0), "share must lie above 0"),
    ]
    for call, words in cases:
        with pytest.raises(ValueError, match=words):
            call()
