"""The card that goes with trained weights: what they were trained on, and what was measured."""

from __future__ import annotations

import hashlib
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

CARD = """\
# Network of Markov jump processes

`dyninfer.jumps.infer(paths)`, file `{file}` ({kilobytes} kB).

Reads counted transitions (`dyninfer.jumps.likelihood.statistics`), answers with a posterior of
every rate, of the first state and of the share of wrong labels
(`dyninfer.jumps.amortized.zero_shot.infer`).

| | |
|---|---|
| source | trained by `train.py` in this folder on simulated processes alone, no data of others |
| method | Berghaus et al. (2024), arXiv 2406.06419; the network is our own |
| licence | MIT: `LICENSE` in this folder |
| numbers | {size:,} |
| training | {minutes:.0f} minutes by the clock, {steps:,} steps of {groups} x {batch} processes |
| simulated | {drawn:,} batches |
| code | commit {commit} |
| sha256 | `{digest}` |

Prior: `JumpPrior.paper()` and `.widened()` from the start; `.wide()` is mixed in after a share
{wide_from:g} of the training, as a share {wide_share:g} of the batches. Settings:

    {settings}
{note}
`jump_losses.csv` has the losses in the course of it: nats per jump (link, rate), relative squared
error (point), nats (initial, noise).

Measured on processes not seen in training, the published flashing-ratchet data among them, by

    {command}

RMSE of the rates of all jumps, mean over processes; coverage of 90 % intervals, of all jumps and of
those that exist.

| data | RMSE | ± | coverage | existing | median RMSE | to reach, and others on such data |
|---|---|---|---|---|---|---|
{table}

n states, K paths, eps share of wrong labels. Stride 1: 100 regular observations on [0, 10]. ±
is a standard error over batches of 50 processes that share their grid and kind of rates, on the
ratchet the standard deviation over 200 random choices of paths (20 of 5,000). Numbers of others: published tutorial outputs of the network of Berghaus et al. (2024), and fits of the
likelihood on the same kind of data.

Rows of the wide prior (rates over decades, landscapes, rows, rings, metastable groups, 0 to 20
% wrong labels, all grids) give the RMSE over the root mean square of the true rates. `rates` is
the network's estimate of least squared error; of a rate of which the data say nothing, look at
`JumpEstimate.quantile(0.5)` and the intervals too.

Not for: more than 10 states, wrong labels that depend on the state, rates that change in time.
"""


def write_card(file: Path, weights: Path, results: Mapping[str, Any], command: str) -> None:
    """Write a card in Markdown.

    Parameters
    ----------
    file : Path
        Where to write it.
    weights : Path
        What `train` wrote.
    results : mapping
        By the names of `measure.measurements`: numbers, or mappings with "rmse" first.
    command : str
        What was called to measure.
    """
    metadata, tensors = read_model(weights)
    training = metadata["training"]
    note = f"\n{metadata['note']}\n" if "note" in metadata else ""
    text = CARD.format(
        file=weights.name,
        kilobytes=round(weights.stat().st_size / 1000),
        size=sum(t.numel() for name, t in tensors.items() if name.startswith("weight.")),
        minutes=training["seconds"] / 60,
        steps=training["steps_done"],
        groups=training["groups"],
        batch=training["batch"],
        drawn=metadata["batches_drawn"],
        commit=metadata["commit"],
        digest=hashlib.sha256(weights.read_bytes()).hexdigest(),
        wide_from=training["wide_from"],
        wide_share=training["wide_share"],
        settings=", ".join(f"{name}={v}" for name, v in (metadata["network"] | training).items()),
        note=note,
        command=command,
        table="\n".join(_row(name, result) for name, result in results.items()),
    )
    file.write_text(text, encoding="utf-8")


def _row(name: str, result: Any) -> str:
    values = list(result.values()) if isinstance(result, Mapping) else [result]
    cells = [f"{value:.4f}" for value in values]
    cells += [""] * (5 - len(cells))
    return f"| {name} | {' | '.join(cells)} | {AIMS.get(name, '')} |"
