"""What every simulator promises, whatever it simulates."""

from __future__ import annotations

import dataclasses
import inspect

import numpy as np
import pytest
import torch

from dyninfer import simulators

# Those whose law a user gives, which have no defaults, have tests of their own.
GIVEN = {"Simulator", "GroundState"}
KINDS = [getattr(simulators, name) for name in simulators.__all__ if name not in GIVEN]
EVERY = [kind() for kind in KINDS if issubclass(kind, simulators.Simulator)]  # at their defaults
every = pytest.mark.parametrize("system", EVERY, ids=lambda s: type(s).__name__)


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fields_are_batched_and_keep_the_precision(system, dtype):
    process = system.process()
    x = system.sample(0.5, 6, seed=0)[:5].to(dtype)
    shapes = {"drift": x.shape, "score": x.shape, "growth": (5,), "potential": (5,)}
    for t in (0.5, torch.linspace(0, 1, 5, dtype=dtype)):
        for name, shape in shapes.items():
            value = getattr(process, name)(t, x)
            assert value is None or (
                value.shape == shape and value.dtype == dtype and value.isfinite().all()
            ), name
    assert process.drift(0.5, x) is not None
    assert (process.growth(0.5, x) is not None) == system.grows


@every
def test_single_and_double_precision_fields_agree(system):
    process = system.process()
    x = system.sample(0.5, 50, seed=1)
    torch.testing.assert_close(
        process.drift(0.5, x), process.drift(0.5, x.double()).float(), rtol=1e-3, atol=1e-4
    )


@every
def test_samples_depend_on_the_seed_alone(system):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, again, other = (
        system.sample(0.5, 20, seed=3),
        system.sample(0.5, 20, seed=3),
        system.sample(0.5, 20, seed=4),
    )
    assert torch.equal(before, torch.get_rng_state())
    assert first.dtype == torch.float32
    assert torch.equal(first, again)
    assert first.shape != other.shape or not torch.equal(first, other)


@every
def test_snapshots_carry_masses_where_cells_divide(system):
    snapshots = system.snapshots([0, 0.5, 1.0], 30, seed=0)
    assert snapshots.sizes[0] == 30
    assert (snapshots.masses is not None) == system.grows
    if system.grows:
        np.testing.assert_allclose(snapshots.masses, np.array(snapshots.sizes) / 30)
    else:
        assert snapshots.sizes == (30, 30, 30)


# Cells that divide have no paths.
WITH_PATHS = [system for system in EVERY if hasattr(system, "paths")]


@pytest.mark.parametrize("system", WITH_PATHS, ids=lambda s: type(s).__name__)
def test_paths_agree_with_samples_at_their_times(system):
    times = [0.0, 0.4, 1.0]
    states = np.stack(system.paths(times, 2000, seed=0).states)
    assert states.shape == (2000, 3, system.dimension)
    for k, t in enumerate(times):
        sample = system.sample(t, 2000, seed=9).numpy()
        error = np.sqrt(2 / 2000) * sample.std(0)
        assert (np.abs(states[:, k].mean(0) - sample.mean(0)) < 5 * error).all()


@every
def test_bad_draws_are_named(system):
    with pytest.raises(ValueError, match="t must not be negative, found -1"):
        system.sample(-1.0, 3)
    with pytest.raises(ValueError, match="n must be positive, found 0"):
        system.sample(0.0, 0)
    with pytest.raises(ValueError, match="seed must not be negative"):
        system.snapshots([0, 1], 3, seed=-1)


def _numbers(kind):
    """Names of the parameters that are one real number."""
    return [field.name for field in dataclasses.fields(kind) if field.type == "float"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if _numbers(kind)])
@pytest.mark.parametrize("size", [1e-308, -1e-60, 1e60, 1e308])
def test_parameters_whose_powers_would_overflow_are_named(kind, size):
    for name in _numbers(kind):
        with pytest.raises(ValueError, match=f"{name} must be zero or of a size between 1e-50"):
            kind(**{name: size})


def test_one_number_of_any_library_is_a_parameter():
    expected = simulators.DoubleWell(sigma=0.5).sample(0.2, 5)
    for sigma in (np.array(0.5), np.float32(0.5), torch.tensor(0.5)):
        assert torch.equal(simulators.DoubleWell(sigma=sigma).sample(0.2, 5), expected)


def test_cells_that_leave_every_range_are_refused():
    with pytest.raises(ValueError, match="diverged by time 0: .* make dt smaller"):
        simulators.BranchingPopulation(speed=1e39).sample(0.2, 5)


def test_videos_that_no_memory_holds_are_refused():
    with pytest.raises(MemoryError, match="frames of 5 videos take at least"):
        simulators.BouncingShapes().paths(2**31, 5)
    with pytest.raises(TypeError, match="n_frames must be a whole number, found 0.5"):
        simulators.BouncingShapes().paths(0.5, 5)


# Everything that draws; what each takes follows from the names of its arguments.
DRAWS = (
    "sample",
    "snapshots",
    "paths",
    "founders",
    "grow",
    "cells",
    "frames",
    "motion",
    "positions",
)
GIVEN = {"t": 0.5, "times": [0.0, 0.5, 1.0], "days": [0.0, 0.5, 1.0], "n_frames": 4, "n": 6}


def drawn(kind):
    """What every method of a system draws, as arrays by the name of the method."""
    system = kind()
    arrays = {}
    for name in DRAWS:
        method = getattr(system, name, None)
        if method is None:
            continue
        arguments = [GIVEN[key] for key in inspect.signature(method).parameters if key in GIVEN]
        drawn = method(*arguments)
        parts = getattr(drawn, "samples", getattr(drawn, "states", drawn))
        parts = [parts] if isinstance(parts, torch.Tensor) else parts
        arrays[name] = [np.asarray(part) for part in parts]
    return arrays


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_program_has_set_elsewhere_changes_no_draw(kind):
    plain = drawn(kind)
    assert plain
    torch.set_default_dtype(torch.float64)
    try:
        # A device that holds no numbers stands for a GPU.
        with torch.device("meta"):
            elsewhere = drawn(kind)
    finally:
        torch.set_default_dtype(torch.float32)
    for name, arrays in plain.items():
        for ours, theirs in zip(arrays, elsewhere[name], strict=True):
            assert ours.dtype == theirs.dtype, name
            np.testing.assert_array_equal(ours, theirs, name)
