"""The trainer of the shipped network: it learns, it can be put down and taken up, and it writes what is read."""

from dataclasses import asdict, replace

import measure
import pandas as pd
import pytest
import torch
import train as trainer
from train import BeliefObjective, NetworkTraining, Pool, train_network

from dyninfer.jumps.amortized.prior import JumpPrior
from dyninfer.jumps.amortized.zero_shot import infer
from dyninfer.jumps.likelihood.statistics import JumpStatistics
from dyninfer.learning.model_file import read_model

CPU = torch.device("cpu")
TINY = NetworkTraining(
    width=8, depth=1, batch=4, groups=1, most_numbers=2**14, warm_up=1, steps=12, pool=12
)


def weights_of(file):
    _, tensors = read_model(file)
    return tensors


def test_training_taken_up_again_gives_the_same_weights_to_the_last_bit(tmp_path, monkeypatch):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    config = replace(TINY, steps=30, reuse=2.0)
    train_network(config, whole, CPU, log_every=5)
    take, calls = Pool.take, []

    def interrupted(self, step):
        calls.append(step)
        if len(calls) == 24:
            raise KeyboardInterrupt
        return take(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(Pool, "take", interrupted)
        train_network(config, broken, CPU, log_every=5)
    again = weights_of(train_network(config, broken, CPU, log_every=5))
    for name, value in weights_of(whole / "jump.safetensors").items():
        assert torch.equal(again[name], value), name


def test_a_finished_training_can_be_made_longer_but_not_otherwise_changed(tmp_path):
    train_network(TINY, tmp_path, CPU, log_every=4)
    train_network(replace(TINY, steps=20), tmp_path, CPU, log_every=4)
    metadata, _ = read_model(tmp_path / "jump.safetensors")
    assert metadata["training"]["steps_done"] == 20
    assert pd.read_csv(tmp_path / "jump_losses.csv")["step"].tolist() == [4, 8, 12, 16, 20]
    with pytest.raises(ValueError, match="belongs to a run with other settings"):
        train_network(replace(TINY, width=9, steps=20), tmp_path, CPU)


def test_the_same_seed_trains_the_same_weights_and_leaves_the_global_state(tmp_path):
    before, runs = torch.get_rng_state(), []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        runs.append(weights_of(train_network(replace(TINY, seed=7), tmp_path / name, CPU)))
    assert all(torch.equal(value, runs[1][name]) for name, value in runs[0].items())
    assert torch.equal(before, torch.get_rng_state())


def test_the_command_line_trains_writes_weights_that_are_read_and_a_card(tmp_path, monkeypatch):
    few = {"CPU-seconds per inference, 300 x 100": lambda: 0.01}
    monkeypatch.setattr(measure, "measurements", lambda *options: few)
    flags = [x for k, v in asdict(TINY).items() for x in (f"--{k.replace('_', '-')}", str(v))]
    options = ["--device", "cpu", "--log-every", "4", "--measure", "50", "--commit", "abc"]
    trainer.main(["--out", str(tmp_path), *flags, *options])
    metadata, tensors = read_model(tmp_path / "jump.safetensors")
    assert metadata["training"]["steps_done"] == 12
    assert (tensors["range.low"] <= tensors["range.high"]).all()
    tasks = JumpPrior.paper().draw(4, 0, n_states=3, n_paths=20)
    statistics = JumpStatistics.of_batch(tasks.labels, tasks.times, 3)
    with pytest.warns(UserWarning, match="not trained on such data"):
        estimate = infer(statistics, weights=tmp_path / "jump.safetensors")
    assert estimate.rates.isfinite().all()
    assert "12 steps of 1 x 4 processes" in (tmp_path / "README.md").read_text()


def test_a_short_training_makes_every_part_of_the_loss_fall(tmp_path):
    """Means over ten steps each; a hundred steps are enough to see it."""
    config = NetworkTraining(width=16, depth=2, batch=16, groups=1, steps=120, most_numbers=2**17)
    train_network(config, tmp_path, CPU, log_every=10)
    losses = pd.read_csv(tmp_path / "jump_losses.csv")
    first, last = losses.iloc[:2].mean(), losses.iloc[-3:].mean()
    for name in ("link", "rate", "point", "initial"):
        assert last[name] < 0.8 * first[name], name


def test_a_wider_training_is_told_of_exact_labels_and_is_taken_up_again(tmp_path, monkeypatch):
    """From weights that are told nothing, with up to 12 states and with states never left."""
    first = tmp_path / "first"
    first.mkdir()
    start = train_network(TINY, first, CPU)
    config = replace(TINY, wide_from=0.0, wide_share=1.0, wider_share=1.0, told_share=0.5)
    runs = []
    for name in ("whole", "broken"):
        folder = tmp_path / name
        folder.mkdir()
        take, calls = Pool.take, []

        def interrupted(self, step, take=take, calls=calls):
            calls.append(step)
            if len(calls) == 9:
                raise KeyboardInterrupt
            return take(self, step)

        if name == "broken":
            with monkeypatch.context() as patch:
                patch.setattr(Pool, "take", interrupted)
                train_network(config, folder, CPU, log_every=2, start=start)
        file = train_network(config, folder, CPU, log_every=2, start=start)
        runs.append(weights_of(file))
    assert all(torch.equal(value, runs[1][name]) for name, value in runs[0].items())
    assert bool((runs[0]["weight.told"] != 0).any())
    # Data that the first training was shown are no strangers to the second.
    assert bool((runs[0]["range.low"] <= weights_of(start)["range.low"]).all())
    assert bool((runs[0]["range.high"] >= weights_of(start)["range.high"]).all())
    tasks = JumpPrior.wider().draw(4, 0, n_states=12, n_paths=20)
    statistics = JumpStatistics.of_batch(tasks.labels, tasks.times, 12)
    told = infer(statistics, weights=file, exact=True)
    silent = infer(statistics, weights=file)
    assert not torch.equal(told.rates, silent.rates)
    assert (told.noise == 0).all()
    with pytest.raises(ValueError, match="exact=True cannot be used: this network"):
        infer(statistics, weights=start, exact=True)
    with pytest.raises(ValueError, match="belongs to a run with other first weights"):
        train_network(config, folder, CPU)


def test_a_batch_is_simulated_again_from_its_number():
    objective = BeliefObjective(TINY, CPU)
    (one,) = objective.batch(4, torch.Generator())
    objective.pool.examples.clear()
    (draw,) = objective.pool.draws
    again = objective.pool._example(draw)
    assert torch.equal(one.rates, again.rates)
    assert torch.equal(one.statistics.counts, again.statistics.counts)
