"""The training loop: schedule, averages, stopping, resuming, several processes."""

import copy
import errno
import json
import math
import os
import runpy
import shutil
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import dyninfer as di
from dyninfer.learning.objective import Objective
from dyninfer.learning.parallel import pick_device
from dyninfer.learning.random import stream
from dyninfer.learning.tensor_file import read_tensors, write_tensors
from dyninfer.learning.training import AveragedOptimizer, Training, TrainingRun, train
from dyninfer.learning.training.checkpoint import KIND, from_tree, to_tree
from dyninfer.transport.objectives import ActionObjective

F64 = torch.float64


class Points(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor
    nothing: None = None


class Regression(Objective):
    """Fit ``y = w x`` with noise; counts what it is asked."""

    def __init__(self, validation=None, fail_at=None, error=None, nan_from=None):
        self.validations, self.fail_at, self.error, self.nan_from = (
            validation,
            fail_at,
            error,
            nan_from,
        )
        self.steps = self.asked = 0
        self.seen, self.memory = [], torch.zeros(1)

    def batch(self, n, generator):
        if self.steps == self.fail_at:
            raise self.error
        self.steps += 1
        x = torch.randn(n, 1, generator=generator)
        return Points(x, 3 * x + 0.1 * torch.randn(n, 1, generator=generator))

    def loss(self, process, batch):
        error = (process(batch.x.to(process.weight.dtype)) - batch.y)[:, 0]
        if self.nan_from is not None and self.steps >= self.nan_from:
            error = error * math.nan
        return {"loss": error.square(), "absolute": error.abs().detach(), "hidden": error.detach()}

    def observe(self, batch, terms):
        self.memory = 0.9 * self.memory + terms.pop("hidden").mean().float()

    def validation(self, process):
        self.asked += 1
        self.seen.append(process.weight.item())
        return None if self.validations is None else self.validations[self.asked - 1]

    def state(self):
        return {"memory": self.memory}

    def restore(self, state):
        self.memory = state["memory"]


def state_in(path):
    """State that a checkpoint holds."""
    facts, tensors = read_tensors(path, KIND)
    return from_tree(facts["state"], tensors, torch.device("cpu"))


def line(weight=0.0, dtype=torch.float32):
    model = nn.Linear(1, 1, bias=False).to(dtype)
    with torch.no_grad():
        model.weight.fill_(weight)
    return model


def brief(**settings):
    return Training(
        **(
            {
                "max_steps": 40,
                "batch_size": 16,
                "warmup_steps": 0,
                "log_every": 5,
                "validate_every": 10,
                "patience": None,
            }
            | settings
        )
    )


def run(objective=None, model=None, seed=0, checkpoint=None, resume=False, **settings):
    model = line() if model is None else model
    objective = Regression() if objective is None else objective
    result = train(
        model,
        objective,
        brief(**settings),
        seed=seed,
        checkpoint=checkpoint,
        resume=resume,
        progress=False,
    )
    return model, result


# --- schedule and optimiser ---


def test_learning_rate_rises_linearly_and_falls_along_a_cosine():
    s = Training(learning_rate=2.0, warmup_steps=4, max_steps=14, final_learning_rate=0.1)
    assert [s.learning_rate_at(k) for k in range(4)] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    for step, progress in ((4, 0), (9, 0.5), (14, 1), (99, 1)):
        wanted = 2.0 * (0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2)
        assert s.learning_rate_at(step) == pytest.approx(wanted)
    assert Training(warmup_steps=0, learning_rate=1.0).learning_rate_at(0) == 1


def test_learning_rates_in_the_history_are_those_that_were_used():
    _, result = run(warmup_steps=8, max_steps=20, log_every=4)
    s = brief(warmup_steps=8, max_steps=20, log_every=4)
    assert result.history["learning_rate"].tolist() == [
        s.learning_rate_at(k - 1) for k in (4, 8, 12, 16, 20)
    ]


def reference(steps, of=None, clip=1.0, decay=0.999):
    """Average weight and gradient norms of the first steps, with torch's plain AdamW and formulas written out."""
    model, objective, generator = line(dtype=F64), Regression(), stream(0, "batches")
    s = brief(max_steps=of or steps)
    optimizer = torch.optim.AdamW(
        model.parameters(), weight_decay=s.weight_decay, foreach=False, fused=False
    )
    average, norms = model.weight.item(), []
    for k in range(steps):
        optimizer.zero_grad()
        objective.loss(model, objective.batch(s.batch_size, generator))["loss"].mean().backward()
        norms.append(model.weight.grad.norm().item())
        if clip is not None:
            model.weight.grad.mul_(min(1.0, clip / (norms[-1] + 1e-6)))
        optimizer.param_groups[0]["lr"] = s.learning_rate_at(k)
        optimizer.step()
        d = min(decay, (1 + k) / (10 + k))
        average = d * average + (1 - d) * model.weight.item()
    return average, norms


@pytest.mark.parametrize("clip", [None, 0.5, 100.0])
def test_the_result_is_the_average_of_clipped_adamw(clip):
    average, norms = reference(40, clip=clip)
    model, result = run(model=line(dtype=F64), gradient_clip=clip, log_every=1, precision="float64")
    assert model.weight.item() == pytest.approx(average, rel=1e-9)
    np.testing.assert_allclose(result.history["gradient_norm"], norms, rtol=1e-9)


@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0])
def test_averages_follow_the_ramped_decay(decay):
    average, _ = reference(15, decay=decay)
    model, _ = run(model=line(dtype=F64), max_steps=15, ema_decay=decay, precision="float64")
    assert model.weight.item() == pytest.approx(average, rel=1e-9)


def test_parameters_may_have_a_pace_of_their_own():
    """Without decay, Adam's first step is the learning rate, whatever the gradient."""
    model = nn.Linear(1, 1)
    begin = {name: p.detach().clone() for name, p in model.named_parameters()}
    settings = brief(
        max_steps=1, warmup_steps=0, weight_decay=0.0, learning_rate=1e-3, ema_decay=0.0
    )
    train(model, Regression(), settings, progress=False, paces={"bias": 5.0})
    moved = {
        name: (p.detach() - begin[name]).abs().max().item() for name, p in model.named_parameters()
    }
    assert moved["weight"] == pytest.approx(1e-3, rel=1e-3)
    assert moved["bias"] == pytest.approx(5e-3, rel=1e-3)


def test_training_finds_the_slope():
    model, result = run(max_steps=600, learning_rate=0.05)
    assert model.weight.item() == pytest.approx(3, abs=0.02)
    assert result.status == "finished"


def test_history_rows_are_means_since_the_row_before():
    fine, coarse = (run(log_every=n, max_steps=20)[1].history for n in (1, 5))
    for name in ("loss", "absolute", "gradient_norm"):
        np.testing.assert_allclose(
            coarse[name], fine[name].to_numpy().reshape(4, 5).mean(1), rtol=1e-6
        )
    assert coarse["step"].tolist() == [5, 10, 15, 20]
    assert "hidden" not in coarse


def test_a_last_row_that_is_short_is_a_mean_too():
    fine, coarse = (run(log_every=n, max_steps=7)[1].history for n in (1, 5))
    assert coarse["loss"].iloc[-1] == pytest.approx(fine["loss"].iloc[5:].mean(), rel=1e-6)


def test_the_seed_fixes_the_result_and_the_global_generator_is_left_alone():
    models = [line() for _ in range(3)]
    before = torch.get_rng_state()
    first, again, other = (
        run(model=m, seed=k)[0].weight.item() for m, k in zip(models, (1, 1, 2), strict=True)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert first == again != other


# --- early stopping ---


def test_early_stopping_restores_the_weights_of_the_best_validation(caplog):
    objective = Regression(validation=[5.0, 2.0, 3.0, 4.0])
    with caplog.at_level("INFO", "dyninfer"):
        model, result = run(objective, max_steps=400, patience=2)
    assert result.status == "stopped early"
    assert result.history["step"].iloc[-1] == 40
    assert model.weight.item() == objective.seen[1] != objective.seen[-1]
    assert (
        "stopped at step 40: the validation loss has not improved on 2 for 2 validations"
        in caplog.text
    )


def test_validation_sees_the_averaged_weights_and_training_goes_on_from_its_own():
    objective = Regression(validation=[4.0, 3.0, 2.0, 1.0])
    model, _ = run(objective, model=line(dtype=F64), precision="float64")
    assert objective.seen == pytest.approx(
        [reference(n, of=40)[0] for n in (10, 20, 30, 40)], rel=1e-9
    )
    plain, _ = run(model=line(dtype=F64), precision="float64")
    assert model.weight.item() == plain.weight.item()


def test_validations_stand_in_the_history_at_their_steps():
    _, result = run(
        Regression(validation=[4.0, 3.0, 3.5]), validate_every=12, log_every=8, max_steps=36
    )
    found = result.history.set_index("step")["validation"].dropna()
    assert found.to_dict() == {12: 4.0, 24: 3.0, 36: 3.5}


def test_without_validation_the_last_average_is_the_result():
    model, _ = run(Regression(), model=line(dtype=F64), precision="float64", max_steps=33)
    assert model.weight.item() == pytest.approx(reference(33)[0], rel=1e-9)


# --- what is held out is learned from in the end ---


class Shared(Regression):
    """A quarter of its samples is held out; batches are the same in every step."""

    held_out = 0.25

    def __init__(self, validation, others=()):
        super().__init__(validation)
        self.others, self.learns_from_all_at = others, None

    def batch(self, n, generator):
        self.steps += 1
        x = torch.linspace(-1, 1, n, dtype=F64)[:, None]
        return Points(x, 3 * x)

    def companions(self):
        return [(line(dtype=F64), Shared(validation)) for validation in self.others]

    def learn_from_all(self):
        self.learns_from_all_at = self.steps


def test_steps_that_validation_chose_are_made_again_for_what_was_held_out():
    objective = Shared([4.0, 2.0, 3.0, 3.5, 9.0])
    model, result = run(objective, line(dtype=F64), max_steps=400, patience=2, precision="float64")
    assert result.status == "stopped early"
    assert objective.learns_from_all_at == 40
    # A third of the 20 steps that were best, from where they ended.
    assert result.history["step"].iloc[-1] == 47
    rates = result.history.set_index("step")["learning_rate"]
    schedule = brief(max_steps=400)
    assert rates[47] == schedule.learning_rate_at(26) != rates[45] == schedule.learning_rate_at(24)
    unbroken = Shared(None)
    unbroken.held_out = 0.0
    other = line(dtype=F64)
    run_of = train_steps(other, unbroken, 27, of=400)
    assert model.weight.item() == pytest.approx(run_of, rel=1e-12)


def train_steps(model, objective, n, of):
    """Averaged weight after the first ``n`` steps of a run of ``of``."""
    settings = brief(max_steps=of, precision="float64")
    one = TrainingRun(model, objective, settings)
    for _ in range(n):
        one.update(objective.loss)
    return one.optimizer.average[0].item()


def test_a_run_that_is_never_stopped_makes_its_steps_and_no_more():
    objective = Shared([4.0, 3.0, 2.0])
    model, result = run(objective, line(dtype=F64), max_steps=40, precision="float64")
    assert result.status == "finished"
    assert objective.learns_from_all_at == 30
    assert result.history["step"].iloc[-1] == 40
    whole = Shared(None)
    whole.held_out = 0.0
    assert model.weight.item() == train_steps(line(dtype=F64), whole, 40, of=40)


def test_nothing_is_held_out_where_a_single_validation_would_choose_nothing():
    objective = Shared([])
    run(objective, line(dtype=F64), max_steps=12, precision="float64")
    assert objective.learns_from_all_at == 0
    assert objective.asked == 0


def test_the_mean_of_the_validations_of_all_runs_decides():
    objective = Shared([1.0, 4.0, 2.0], others=([5.0, 1.0, 4.5], [3.0, 1.0, 5.5]))
    _, result = run(objective, line(dtype=F64), max_steps=40, patience=1, precision="float64")
    found = result.history.set_index("step")["validation"].dropna()
    assert found.to_dict() == {10: 3.0, 20: 2.0, 30: 4.0}
    assert result.history["step"].iloc[-1] == 30 + round(20 / 3)


# --- interruption and divergence ---


def test_an_interrupt_keeps_the_model_and_the_last_checkpoint(tmp_path):
    path = tmp_path / "run.pt"
    model, result = run(
        Regression(fail_at=33, error=KeyboardInterrupt()),
        line(dtype=F64),
        checkpoint=path,
        checkpoint_every=10,
        precision="float64",
    )
    assert result.status == "interrupted"
    assert model.weight.item() == pytest.approx(reference(33, of=40)[0], rel=1e-9)
    assert state_in(path)["step"] == 30
    resumed, _ = run(model=line(dtype=F64), checkpoint=path, resume=True, precision="float64")
    whole, _ = run(model=line(dtype=F64), precision="float64")
    assert resumed.weight.item() == whole.weight.item()


def test_an_interrupt_after_a_validation_keeps_the_best_weights():
    objective = Regression(validation=[1.0, 2.0, 3.0], fail_at=33, error=KeyboardInterrupt())
    model, result = run(objective)
    assert result.status == "interrupted"
    assert model.weight.item() == objective.seen[0]
    assert result.history["step"].iloc[-1] == 30


def test_an_interrupt_at_the_first_step_keeps_the_untrained_model():
    model, result = run(Regression(fail_at=0, error=KeyboardInterrupt()), line(0.7))
    assert model.weight.item() == pytest.approx(0.7)
    assert len(result.history) == 0


def test_other_errors_are_not_swallowed():
    with pytest.raises(RuntimeError, match="out of cheese"):
        run(Regression(fail_at=3, error=RuntimeError("out of cheese")))


@pytest.mark.parametrize("validation", [None, [3.0, 2.0, math.nan, math.nan]])
@pytest.mark.parametrize("log_every", [5, 40])
def test_a_loss_that_is_not_finite_stops_the_run_with_its_name_and_finite_weights(
    tmp_path, validation, log_every
):
    objective = Regression(validation=validation, nan_from=22)
    with pytest.warns(
        RuntimeWarning,
        match=r"training diverged before step \d+ \(.*loss.*not finite\); .*learning_rate \(now 0.003\)",
    ):
        model, result = run(
            objective, log_every=log_every, checkpoint=tmp_path / "run.pt", checkpoint_every=10
        )
    assert result.status == "diverged"
    assert model.weight.item() == objective.seen[1]
    assert state_in(tmp_path / "run.pt")["step"] == 20


def test_a_run_that_diverges_at_once_gives_back_the_untrained_weights():
    with pytest.warns(RuntimeWarning, match="training diverged before step 5"):
        model, _ = run(Regression(nan_from=0), line(0.7))
    assert model.weight.item() == pytest.approx(0.7)


# --- checkpoints ---


def fit(checkpoint=None, resume=False, **settings):
    """A real fit whose checkpoints, rows and validations fall on different steps."""
    training = di.Training(
        max_steps=60,
        batch_size=33,
        log_every=8,
        validate_every=14,
        checkpoint_every=10,
        patience=None,
        validation_fraction=0.2,
        warmup_steps=5,
    )
    model = di.ActionMatching(
        width=8, depth=2, growth_penalty=1.0, sigma=0.3, training=training, **settings
    )
    data = di.Snapshots(
        times=[0, 1, 3], samples=[np.random.default_rng(k).normal(k, 1, (40, 2)) for k in range(3)]
    )
    return model.fit(data, progress=False, checkpoint=checkpoint, resume=resume)


def assert_same_fit(a, b):
    for (name, p), q in zip(
        a.process_.state_dict().items(), b.process_.state_dict().values(), strict=True
    ):
        assert torch.equal(p, q), name
    pd.testing.assert_frame_equal(
        a.history_.drop(columns="seconds"), b.history_.drop(columns="seconds"), check_exact=True
    )


# Of five runs of 48 steps that choose, and one of 12 more.
@pytest.mark.parametrize("stop", [20, 130, 243])
@pytest.mark.parametrize("time_sampling", ["adaptive", "uniform"])
def test_a_resumed_fit_equals_an_uninterrupted_one_to_the_last_bit(
    tmp_path, monkeypatch, stop, time_sampling
):
    whole = fit(tmp_path / "whole.pt", time_sampling=time_sampling)
    path, draw, count = tmp_path / "broken.pt", ActionObjective.batch, [0]

    def breaks(self, n, generator):
        count[0] += 1
        if count[0] > stop + 4:
            raise KeyboardInterrupt
        return draw(self, n, generator)

    monkeypatch.setattr(ActionObjective, "batch", breaks)
    assert fit(path, time_sampling=time_sampling).status_ == "interrupted"
    monkeypatch.setattr(ActionObjective, "batch", draw)
    resumed = fit(path, resume=True, time_sampling=time_sampling)
    assert_same_fit(resumed, whole)
    broken, unbroken = (state_in(tmp_path / f) for f in ("broken.pt", "whole.pt"))
    for name in ("parameters", "average"):
        for p, q in zip(broken["optimizer"][name], unbroken["optimizer"][name], strict=True):
            assert torch.equal(p, q)
    for p, q in zip(broken["best"], unbroken["best"], strict=True):
        assert torch.equal(p, q)


def test_a_finished_run_that_is_resumed_changes_nothing(tmp_path):
    first = fit(tmp_path / "run.pt")
    assert_same_fit(fit(tmp_path / "run.pt", resume=True), first)


def test_resuming_where_there_is_no_checkpoint_yet_starts_from_the_beginning(tmp_path):
    assert_same_fit(fit(tmp_path / "new.pt", resume=True), fit())


def test_a_checkpoint_holds_the_whole_state_as_tensors_and_json(tmp_path):
    fit(tmp_path / "run.pt")
    state = state_in(tmp_path / "run.pt")
    assert state["step"] == 60
    assert len(state["history"]["rows"]) > 0


def test_a_state_comes_back_from_a_tree_as_it_was():
    state = {"a": (0.1, [1, None, True]), 0: {"x": torch.arange(3)}, "inf": math.inf}
    tensors = {}
    tree = json.loads(json.dumps(to_tree(state, tensors)))
    again = from_tree(tree, tensors, torch.device("cpu"))
    assert torch.equal(again[0].pop("x"), state[0].pop("x"))
    assert again == state


def test_a_state_that_is_not_plain_is_named():
    with pytest.raises(TypeError, match="a set in the state of a run cannot be saved"):
        to_tree({"x": {1, 2}}, {})


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    run(checkpoint=path, max_steps=10)
    old = path.read_bytes()

    def full(descriptor, content):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.warns(UserWarning, match="no space left"):
        run(checkpoint=path, max_steps=20)
    monkeypatch.undo()
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    run(checkpoint=tmp_path / "run.pt", max_steps=10)
    with pytest.raises(
        ValueError,
        match="run.pt' belongs to another model .its weights have other shapes.; remove it",
    ):
        run(model=nn.Linear(2, 1), checkpoint=tmp_path / "run.pt", resume=True)


def resume(path, **changed):
    """Resume a fit of two features at three times, after changing something."""
    given = {
        "sigma": 0.0,
        "seed": 0,
        "shift": 0.0,
        "hold_out": None,
        "precision": "float32",
    } | changed
    training = di.Training(
        max_steps=changed.get("max_steps", 4), validation_fraction=0, precision=given["precision"]
    )
    samples = [np.random.default_rng(k).normal(k + given["shift"], 1, (20, 2)) for k in range(3)]
    return di.ActionMatching(width=4, depth=1, sigma=given["sigma"], training=training).fit(
        di.Snapshots(times=[0, 1, 3], samples=samples),
        hold_out=given["hold_out"],
        seed=given["seed"],
        checkpoint=path,
        resume=True,
        progress=False,
    )


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"sigma": 0.1}, "settings"),
        ({"shift": 1.0}, "data"),
        ({"hold_out": 1}, "data"),  # else the weights have seen what is held out
        ({"seed": 1}, "seed"),
        ({"precision": "float64"}, "precision"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_by_what_differs(tmp_path, changed, named):
    resume(tmp_path / "run.pt")
    with pytest.raises(ValueError, match=f"run.pt' belongs to a run with other {named}; remove it"):
        resume(tmp_path / "run.pt", **changed)


def test_a_finished_run_can_be_resumed_with_more_steps(tmp_path):
    resume(tmp_path / "run.pt")
    assert resume(tmp_path / "run.pt", max_steps=7).history_["step"].iloc[-1] == 7


def test_a_damaged_checkpoint_and_one_of_something_else_are_refused(tmp_path):
    path = tmp_path / "run.pt"
    run(checkpoint=path, max_steps=10)
    half = path.read_bytes()[:500]
    for spoil in (
        lambda: path.write_bytes(half),
        lambda: path.write_text("x"),
        lambda: torch.save({}, path),
    ):
        spoil()
        with pytest.raises(ValueError, match="not a checkpoint .*; remove it to start anew"):
            run(checkpoint=path, resume=True)


def rewrite(path, change):
    """Change the facts of a checkpoint, and give it the right digest again."""
    facts, tensors = read_tensors(path, KIND)
    state = from_tree(facts["state"], tensors, torch.device("cpu"))
    change(facts, state)
    tensors = {}
    facts["state"] = to_tree(state, tensors)
    write_tensors(path, KIND, tensors, facts)


def test_a_changed_bit_in_a_checkpoint_is_a_sentence_wherever_it_is(tmp_path):
    path = tmp_path / "run"
    run(checkpoint=path, max_steps=10)
    content = path.read_bytes()
    for place in range(0, len(content), 37):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=r"/run' .*remove it to start anew"):
            run(checkpoint=path, resume=True)


@pytest.mark.parametrize(
    "damage",
    [
        lambda facts, state: state["history"].pop("rows"),
        lambda facts, state: facts.update(identity=None),
        lambda facts, state: facts.pop("format"),
        lambda facts, state: state["optimizer"].update(average="x"),
        lambda facts, state: state.update(best=state["best"][:-1]),
        lambda facts, state: state.pop("generator"),
        lambda facts, state: state.update(generator=torch.zeros(3)),
        lambda facts, state: state.update(step="ten"),
        lambda facts, state: state.update(best_value=None),
        lambda facts, state: state["optimizer"].update(parameters=3),
        lambda facts, state: state["optimizer"]["optimizer"].pop("param_groups"),
    ],
)
def test_an_entry_of_a_checkpoint_that_cannot_be_is_a_sentence(tmp_path, damage):
    path = tmp_path / "run"
    run(checkpoint=path, max_steps=10)
    rewrite(path, damage)
    with pytest.raises(ValueError, match="checkpoint .*/run' is damaged .*; remove it to start"):
        run(checkpoint=path, resume=True)


def test_a_checkpoint_of_an_earlier_version_is_refused_in_a_sentence_that_names_it(tmp_path):
    path = tmp_path / "run.pt"
    run(checkpoint=path, max_steps=10)
    rewrite(path, lambda facts, state: facts.update(format=1, version="0.0.9"))
    with pytest.raises(ValueError, match="was written by dyninfer 0.0.9, in a format that version"):
        run(checkpoint=path, resume=True)


@pytest.mark.parametrize(("held_out", "n_copies"), [(0.0, 6), (0.2, 10)])
@pytest.mark.parametrize(("width", "batch_size"), [(100, 40), (10, 1_000_000)])
def test_steps_that_no_memory_holds_are_refused_before_the_first(
    monkeypatch, width, batch_size, held_out, n_copies
):
    network = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width))
    n_weights = 2 * width + width * width + width
    # Weights, gradients, two moments and two averages; what two layers put out. Where something is
    # held out, also weights, moments and average of the best step.
    n_bytes = 4 * (n_copies * n_weights + batch_size * 2 * width)
    objective = Regression()
    objective.held_out = held_out
    settings = Training(batch_size=batch_size)
    monkeypatch.setattr("dyninfer.learning.budget._memory_of", lambda device: n_bytes)
    TrainingRun(network, objective, settings)
    monkeypatch.setattr("dyninfer.learning.budget._memory_of", lambda device: n_bytes - 1)
    with pytest.raises(MemoryError, match="steps of .* weights on batches of .* take at least"):
        TrainingRun(network, objective, settings)


def test_paths_are_drawn_once_whatever_the_size_of_a_batch():
    paths = di.Paths(times=[[0, 1, 2]] * 3, states=np.random.default_rng(0).normal(size=(3, 3, 1)))
    training = Training(batch_size=10**15, max_steps=1)
    inference = di.Variational(n_steps=2, width=4, depth=1, training=training)
    model = di.FractionalSDE(inference=inference)
    assert model.fit(paths, progress=False).status_ == "finished"


def test_a_model_is_no_checkpoint_and_a_checkpoint_is_no_model(tmp_path):
    model = fit(tmp_path / "run")
    with pytest.raises(ValueError, match="not a model file of dyninfer; what it holds is dyninfer"):
        di.load(tmp_path / "run")
    with pytest.raises(ValueError, match="not a checkpoint of dyninfer; what it holds is dyninfer"):
        run(checkpoint=model.save(tmp_path / "model"), resume=True)


def test_a_checkpoint_replaces_no_folder_and_no_device(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ValueError, match="is a folder or a device; name a file"):
            run(checkpoint=path)


def test_resume_needs_a_file_and_the_file_a_folder(tmp_path):
    with pytest.raises(ValueError, match="resume=True needs the checkpoint file"):
        run(resume=True)
    with pytest.raises(
        ValueError, match="the folder of checkpoint .* does not exist; create it first"
    ):
        run(checkpoint=tmp_path / "nowhere" / "run.pt")


# --- settings, devices, precision ---


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"max_steps": 0}, "training.max_steps must be at least 1, found 0"),
        ({"batch_size": 0}, "training.batch_size must be at least 1"),
        ({"log_every": 0}, "training.log_every must be at least 1"),
        ({"validate_every": 0}, "training.validate_every must be at least 1"),
        ({"checkpoint_every": -1}, "training.checkpoint_every must be at least 1"),
        ({"learning_rate": 0.0}, "training.learning_rate must be positive, found 0.0"),
        ({"learning_rate": math.nan}, "training.learning_rate must be positive"),
        ({"gradient_clip": -1.0}, "training.gradient_clip must be positive"),
        ({"warmup_steps": -1}, "training.warmup_steps must not be negative"),
        ({"weight_decay": -0.1}, "training.weight_decay must not be negative"),
        ({"solver_penalty": math.inf}, "training.solver_penalty must be finite, found inf"),
        ({"learning_rate": math.inf}, "training.learning_rate must be finite, found inf"),
        ({"patience": 0}, "training.patience must be at least 1, or None"),
        (
            {"validation_fraction": 1.0},
            r"training.validation_fraction must lie in \[0, 0.9\], found 1.0",
        ),
        ({"ema_decay": 1.5}, r"training.ema_decay must lie in \[0, 1\]"),
        ({"final_learning_rate": -0.1}, r"training.final_learning_rate must lie in \[0, 1\]"),
        (
            {"precision": "float16"},
            "training.precision must be float32, float64 or bfloat16, found 'float16'",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_named(setting, message):
    with pytest.raises(ValueError, match=message):
        Training(**setting).check()


def test_the_defaults_pass_their_own_check():
    assert Training().check().patience == 8


@pytest.mark.parametrize(
    ("device", "said"),
    [("gpu", "'gpu' is not known"), ("cuda:99", "'cuda:99' is not on this machine")],
)
def test_a_device_that_is_not_there_lists_those_that_are(device, said):
    with pytest.raises(ValueError, match=f"device {said}; available: .*cpu"):
        pick_device(device)


def test_auto_takes_a_gpu_where_there_is_one():
    wanted = "cuda" if torch.cuda.is_available() else "cpu"
    assert pick_device("auto").type == wanted
    assert pick_device("cpu").type == "cpu"


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("float32", torch.float32), ("float64", F64), ("bfloat16", torch.float32)],
)
def test_every_precision_trains(precision, dtype):
    data = di.Snapshots(
        times=[0, 1], samples=[np.random.default_rng(k).normal(k, 1, (60, 2)) for k in range(2)]
    )
    model = di.ActionMatching(
        width=16, depth=2, sigma=0.5, training=di.Training(precision=precision, device="cpu")
    )
    model.fit(data, max_steps=30, progress=False)
    assert {p.dtype for p in model.process_.parameters()} == {dtype}
    assert np.isfinite(model.history_["loss"]).all()
    x = torch.zeros(3, 2, dtype=dtype)
    assert model.process_.drift(0.5, x).dtype == dtype


@pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler"
)
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_loss_trains_to_the_same_weights():
    plain, compiled = (
        di.ActionMatching(
            width=8, depth=1, training=di.Training(precision="float64", compile=c, device="cpu")
        ).fit(
            di.Snapshots(
                times=[0, 1],
                samples=[np.random.default_rng(k).normal(k, 1, (60, 2)) for k in range(2)],
            ),
            max_steps=20,
            progress=False,
        )
        for c in (False, True)
    )
    for p, q in zip(plain.process_.parameters(), compiled.process_.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-9)


# --- several processes ---

FIT = """
import os, sys
import numpy as np, torch
import dyninfer as di

rng = np.random.default_rng(0)
data = di.Snapshots(times=[0, 1, 2], samples=[rng.normal(k, 1, (60, 2)) for k in range(3)])
training = di.Training(
    max_steps=400, batch_size=33, log_every=10, validate_every=10, patience=3, learning_rate=0.02,
    warmup_steps=5, precision="float64", device="cpu",
)
model = di.ActionMatching(width=8, depth=2, growth_penalty=1.0, sigma=0.5, training=training)
model.fit(data, progress=False, checkpoint=os.path.join(sys.argv[1], "run.pt"))
result = {
    "weights": [p.clone() for p in model.process_.parameters()],
    "status": model.status_,
    "history": model.history_.drop(columns="seconds").fillna(0.0).to_dict("list"),
}
torch.save(result, os.path.join(sys.argv[1], f"rank{os.environ.get('RANK', 'less')}.pt"))
"""


@pytest.mark.skipif(
    not torch.distributed.is_available(), reason="torch was built without distributed"
)
def test_two_processes_give_the_weights_of_one_and_stop_at_the_same_step(tmp_path, monkeypatch):
    """The batch is odd, so the two shares of it differ in size."""
    script = tmp_path / "fit.py"
    script.write_text(FIT)
    monkeypatch.setattr(sys, "argv", ["fit.py", str(tmp_path)])
    runpy.run_path(str(script))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run(
        [*launch, str(script), str(tmp_path)],
        check=True,
        timeout=180,
        capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    one, first, second = (
        torch.load(tmp_path / f"rank{k}.pt", weights_only=True) for k in ("less", 0, 1)
    )
    assert one["status"] == first["status"] == second["status"] == "stopped early"
    for a, b, c in zip(one["weights"], first["weights"], second["weights"], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
        assert torch.equal(b, c)
    for name, values in one["history"].items():
        np.testing.assert_allclose(first["history"][name], values, atol=1e-5)
        assert first["history"][name] == second["history"][name]


# --- steps with averages, for objectives that have an inner game ---


def quadratic(start=4.0):
    return nn.Parameter(torch.tensor([start], dtype=F64))


def updates_of(parameter, **settings):
    sgd = torch.optim.SGD([parameter], lr=0.1)
    return AveragedOptimizer(sgd, lambda n: 1.0 / (1 + n), gradient_clip=None, **settings)


def follow(updates, parameter, steps):
    for _ in range(steps):
        updates.zero_grad()
        (0.5 * parameter.square()).sum().backward()
        updates.step()


def test_steps_follow_the_schedule_and_can_be_slowed_down():
    x = quadratic()
    updates = updates_of(x)
    follow(updates, x, 2)
    assert x.item() == pytest.approx(4 * 0.9 * 0.95, rel=1e-12)
    updates.slow_down(0.5)
    follow(updates, x, 1)
    assert x.item() == pytest.approx(4 * 0.9 * 0.95 * (1 - 0.1 / 3 / 2), rel=1e-12)


def test_steps_that_are_put_down_are_taken_up_to_the_last_bit():
    x, y = quadratic(), quadratic(1.0)
    one, other = updates_of(x, ema_decay=0.9), updates_of(y, ema_decay=0.9)
    follow(one, x, 3)
    one.slow_down(0.3)
    follow(one, x, 2)
    other.restore(copy.deepcopy(one.state()))
    follow(one, x, 4)
    follow(other, y, 4)
    assert x.item() == y.item()
    assert torch.equal(one.average[0], other.average[0])
    assert one.n_steps == other.n_steps == 9


def test_averages_stand_in_for_a_while_and_a_restart_forgets_them():
    x = quadratic()
    updates = updates_of(x, ema_decay=1.0)
    follow(updates, x, 5)
    own = x.item()
    with updates.averaged():
        assert x.item() == updates.average[0].item() != own
    assert x.item() == own
    updates.restart([torch.tensor([2.0], dtype=F64)])
    assert x.item() == updates.average[0].item() == 2.0
