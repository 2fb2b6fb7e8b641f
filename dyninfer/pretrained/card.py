"""The card that goes with trained weights: what they were trained on, and what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dyninfer.learning.model_file import read_model

# What was to be reached, and what methods that fit each data set reach with the same data.
AIMS = {
    "n=6 K=300 eps=1% stride 1": "0.040; likelihood of hidden states 0.038",
    "n=6 K=100 eps=1% stride 1": "likelihood that ignores wrong labels 0.435",
    "n=6 K=30 eps=1% stride 1": "0.10; hidden states with the true prior 0.112",
    "n=8 K=300 eps=1% stride 1": "0.045",
    "flashing ratchet V=1 K=1": "published network 0.648",
    "flashing ratchet V=1 K=30": "0.27; published network 0.330",
    "flashing ratchet V=1 K=100": "0.15; published network 0.212",
    "flashing ratchet V=1 K=300": "0.09; published network 0.162, panel likelihood 0.09",
    "flashing ratchet V=1 K=1000": "0.05; published network 0.230, panel likelihood 0.047",
    "flashing ratchet V=1 K=5000": "0.03; published network 0.723, panel likelihood 0.020",
    "flashing ratchet V=3 K=300": "panel likelihood 0.40",
    "CPU-seconds per inference, 300 x 100": "0.020",
}


def write_card(file: Path, weights: Path, measured: Mapping[str, Any], command: str) -> None:
    """Write a card in Markdown.

    Parameters
    ----------
    file : Path
        Where to write it.
    weights : Path
        What `train_jump` wrote.
    measured : mapping
        Results by the names of `measure_jump.measurements`: numbers, or mappings with "rmse" first.
    command : str
        What was called to measure.
    """
    metadata, tensors = read_model(weights)
    training = metadata["training"]
    size = sum(t.numel() for name, t in tensors.items() if name.startswith("weight."))
    minutes = training["seconds"] / 60
    lines = [
        "# Network of Markov jump processes",
        "",
        f"{minutes:.0f} CPU-minutes of training on simulated processes alone. {size:,} numbers, MIT licence.",
        "",
        "Reads counted transitions (`dyninfer.jumps.likelihood.statistics`), answers with a posterior of every rate, of the first"
        " state and of the share of wrong labels (`dyninfer.jumps.amortized.zero_shot.infer`).",
        "",
        "Prior: `JumpPrior.paper()` and `.widened()` from the start; `.wide()` is mixed in after a share"
        f" {training['wide_from']:g} of the training, as a share {training['wide_share']:g} of the batches.",
        "",
        f"Seed {training['seed']}, {training['steps_done']:,} steps of {training['groups']} x {training['batch']} processes,"
        f" {metadata['batches_drawn']:,} batches simulated, code of commit {metadata['commit']}. Settings:",
        "",
        "    " + ", ".join(f"{k}={v}" for k, v in (metadata["network"] | training).items()),
        "",
        *([metadata["note"], ""] if "note" in metadata else []),
        "`jump_losses.csv` has the losses in the course of it: nats per jump (link, rate), relative squared error (point), nats (initial, noise).",
        "",
        "Measured on processes not seen in training, the published flashing-ratchet data among them, by",
        "",
        f"    {command}",
        "",
        "RMSE of the rates of all jumps, mean over processes; coverage of 90 % intervals, of all jumps and of those that exist.",
        "",
        "| data | RMSE | ± | coverage | existing | median RMSE | to reach, and others on such data |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, result in measured.items():
        values = list(result.values()) if isinstance(result, Mapping) else [result]
        cells = [f"{v:.4f}" for v in values] + [""] * (5 - len(values))
        lines.append(f"| {name} | {' | '.join(cells)} | {AIMS.get(name, '')} |")
    lines += [
        "",
        "n states, K paths, eps share of wrong labels. Stride 1: 100 regular observations on [0, 10]. ± is a standard error,"
        " on the ratchet the standard deviation over random choices of paths. Numbers of others: published tutorial outputs"
        " of the network of Berghaus et al. (2024), and fits of the likelihood on the same kind of data.",
        "",
        "Rows of the wide prior (rates over decades, landscapes, rows, rings, metastable groups, 0 to 20 % wrong labels, all grids) give"
        " the RMSE over the root mean square of the true rates. `rates` is the network's estimate of least squared error; of a rate of which the"
        " data say nothing, look at `JumpEstimate.quantile(0.5)` and the intervals too.",
        "",
        "Not for: more than 10 states, wrong labels that depend on the state, rates that change in time.",
    ]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
