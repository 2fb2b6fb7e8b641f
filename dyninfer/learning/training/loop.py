"""The loop itself: draw, step, observe, validate."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from dyninfer.learning.compiler import compiled
from dyninfer.learning.files import label
from dyninfer.learning.objective import Batch, Objective
from dyninfer.learning.parallel import mean_over_processes, rank, share, threads, world
from dyninfer.learning.progress import progress_bar, showing
from dyninfer.learning.random import stream
from dyninfer.learning.training.checkpoint import CheckpointFile
from dyninfer.learning.training.effort import steps_to_run
from dyninfer.learning.training.history import History
from dyninfer.learning.training.memory import check_step_memory
from dyninfer.learning.training.optimizer import copies, optimizer_for
from dyninfer.learning.training.settings import Training
from dyninfer.learning.training.stage import Stage
from dyninfer.learning.warn import warn

logger = logging.getLogger("dyninfer")

# Below this many parameters a second thread gains nothing, and loses much where cores are shared.
SMALL_NETWORK = 300_000

LossTerms = Callable[[nn.Module, Batch], dict[str, Tensor]]


class Result(NamedTuple):
    """What the loop returns; the module then holds the best averaged weights."""

    history: pd.DataFrame
    status: str  # "finished", "stopped early", "interrupted" or "diverged"


def train(
    process: nn.Module,
    objective: Objective,
    settings: Training,
    *,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    identity: dict[str, str] | None = None,
    paces: dict[str, float] | None = None,
) -> Result:
    """Minimise an objective over a module's parameters.

    Parameters
    ----------
    process : module
        Trained in place; ends with the averaged weights of the best validation (or of the last
        step).
    objective : Objective
    settings : Training
    seed : int
        Fixes all draws. With several processes (``torchrun``) every process draws the same batch
        and takes its share of it, so the result does not depend on their number beyond rounding.
    checkpoint : path, optional
        File for the state of the run, rewritten as a whole every ``checkpoint_every`` steps and
        at the end.
    resume : bool
        Continue from ``checkpoint`` if it exists; on one device the result is then the same to
        the last bit.
    progress : bool
        Show a progress bar.
    identity : dict of str, optional
        What the run is of, by name (settings, data): a checkpoint in which one of them differs is
        refused.
    paces : dict of str, optional
        Multiples of the learning rate, by the beginning of the names of the parameters that have
        them.

    Notes
    -----
    Ctrl-C ends the run and keeps the model so far; a loss that is not finite ends it with a
    warning.
    """
    run = TrainingRun(process, objective, settings.check(), seed=seed, paces=paces)
    if settings.batch_size < world():
        raise ValueError(
            f"training.batch_size ({settings.batch_size}) must be at least the number of processes "
            f"({world()})"
        )
    if resume and checkpoint is None:
        raise ValueError("resume=True needs the checkpoint file to resume from; give checkpoint=")
    if checkpoint is not None:
        what = {"seed": str(seed), "precision": settings.precision, **(identity or {})}
        run.file = CheckpointFile(checkpoint, what)
        if resume:
            run.resume(run.file)
    return run.go(progress)


class TrainingRun:
    """One run of the loop, and everything that a checkpoint must hold.

    Its parameters are those of :func:`train`.
    """

    def __init__(
        self,
        process: nn.Module,
        objective: Objective,
        settings: Training,
        *,
        seed: int = 0,
        paces: dict[str, float] | None = None,
    ):
        self.process, self.objective, self.settings = process, objective, settings
        n_drawn = objective.n_drawn(settings.batch_size)
        check_step_memory(process, n_drawn, goes_back=objective.held_out > 0)
        self.optimizer = optimizer_for(process, settings, paces or {})
        self.device = self.optimizer.parameters[0].device
        self.generator = stream(seed, "batches", device=self.device)
        # Of a run that diverges at once, the weights that it began with.
        self.best = copies(self.optimizer.average)
        self.best_value = math.inf
        self.stale_validations = 0
        self.history = History()
        self.step, self.seconds = 0, 0.0
        self.file: CheckpointFile | None = None
        # Steps are left for what is held out, as many for each sample as the others had.
        n_shared = round((1 - objective.held_out) * settings.max_steps)
        self.stage = Stage(last_step=max(1, n_shared))
        self.at_best: dict[str, Any] | None = None
        self.companions: list[TrainingRun] = []
        # A single validation would choose nothing.
        if objective.held_out and n_shared <= settings.validate_every:
            self._learn_from_all()
        if not self.stage.learns_from_all:
            for module, other in objective.companions():
                companion = TrainingRun(module, other, settings, seed=seed, paces=paces)
                self.companions.append(companion)

    def go(self, progress: bool = False) -> Result:
        """Make all steps that are left."""
        bars = progress_bar(self.settings.max_steps, "step", initial=self.step)
        with showing(progress), threads(self._n_threads()), bars as bar:
            try:
                status = self._make_steps(bar)
            except KeyboardInterrupt:
                status = "interrupted"
                logger.warning("interrupted at step %d: the model so far is kept", self.step)
        if status in ("finished", "stopped early"):
            self._save()
        # Without a validation the averaged weights of the last step are the result.
        unvalidated = math.isinf(self.best_value) or self.stage.learns_from_all
        is_last = unvalidated and status != "diverged"
        self.optimizer.put(self.optimizer.average if is_last else self.best)
        # What is trained on must not begin with the gradient of the last step.
        self.optimizer.zero_grad()
        return Result(self.history.table(), status)

    def _n_threads(self) -> int | None:
        """CPU threads of the run; None leaves their number as it is."""
        if self.settings.threads is not None or self.device.type != "cpu":
            return self.settings.threads
        n_parameters = sum(p.numel() for p in self.optimizer.parameters)
        return 1 if n_parameters < SMALL_NETWORK else None

    def update(self, loss_terms: LossTerms) -> dict[str, Tensor]:
        """Make one step; return the means of the terms, scalars on the device."""
        settings = self.settings
        self.objective.reach(self.step)
        whole = self.objective.batch(settings.batch_size, self.generator)
        batch, portion = share(whole)
        self.optimizer.zero_grad()
        autocast = settings.precision == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=autocast):
            terms = loss_terms(self.process, batch)
        loss = terms["loss"].mean() * portion
        steps = None
        if settings.solver_penalty:
            # In the precision of the weights: half of it would round the error of a step away.
            steps = steps_to_run(self.objective, self.process, whole)
            loss = loss + settings.solver_penalty * steps
        loss.backward()
        norm = self.optimizer.step()
        # After the step, so that an inner game answers to the weights it led to.
        self.objective.observe(batch, terms)
        means = {}
        for name, value in terms.items():
            means[name] = value.detach().mean() * portion
        means["gradient_norm"] = norm
        if steps is not None:
            means["predicted_steps"] = steps.detach()
        return means

    def resume(self, file: CheckpointFile) -> None:
        """Continue from a checkpoint, if there is one."""
        state = file.read(self.device)
        if state is None:
            return
        with file.restoring():
            saved = _shapes(state["optimizer"]["parameters"])
        if saved != _shapes(self.optimizer.parameters):
            raise ValueError(
                f"checkpoint {label(file.path)} belongs to another model "
                "(its weights have other shapes); remove it"
            )
        with file.restoring():
            self._restore(state)

    def _state(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        return {
            "optimizer": self.optimizer.state(),
            "history": self.history.state(),
            "objective": self.objective.state(),
            "generator": self.generator.get_state(),
            "best": self.best,
            "best_value": self.best_value,
            "stale_validations": self.stale_validations,
            "step": self.step,
            "seconds": self.seconds,
            "max_steps": self.settings.max_steps,
            "stage": asdict(self.stage),
            "at_best": self.at_best,
            "companions": [companion._state() for companion in self.companions],
        }

    def _restore(self, state: dict[str, Any]) -> None:
        averages = state["optimizer"]["average"]
        best = state["best"]
        expected = _shapes(self.optimizer.parameters)
        if not _shapes(averages) == _shapes(best) == expected:
            raise ValueError("its averages have other shapes than its weights")
        stage = Stage(**state["stage"])
        if stage.learns_from_all and not self.stage.learns_from_all:
            self.objective.learn_from_all()
            self.companions = []
        # A run that was ended by its steps may be given more now.
        max_steps = self.settings.max_steps
        if max_steps == state["max_steps"] or stage.stopped_early:
            self.stage = stage
        elif stage.learns_from_all:
            self.stage = replace(stage, last_step=max_steps)
        self.at_best = state["at_best"]
        # There are none where so few steps are left that nothing is to be chosen.
        for companion, own_state in zip(self.companions, state["companions"], strict=False):
            companion._restore(own_state)
        self.optimizer.restore(state["optimizer"])
        self.history.restore(state["history"])
        self.objective.restore(state["objective"])
        self.generator.set_state(state["generator"].cpu())
        self.best = best
        self.best_value = float(state["best_value"])
        self.stale_validations = int(state["stale_validations"])
        self.step = int(state["step"])
        self.seconds = float(state["seconds"])
        # A run that has ended draws once more, to settle what it learned.
        if self.step:
            self.objective.reach(self.step - 1)

    def _make_steps(self, bar: Any) -> str:
        loss_terms: LossTerms = self.objective.loss
        if self.settings.compile:
            loss_terms = compiled(loss_terms, self.device)
        if not self._steps_of_stage(bar, loss_terms):
            return "diverged"
        if self.objective.held_out and not self.stage.learns_from_all:
            self._learn_from_all()
            if not self._steps_of_stage(bar, loss_terms):
                return "diverged"
        return "stopped early" if self.stage.stopped_early else "finished"

    def _steps_of_stage(self, bar: Any, loss_terms: LossTerms) -> bool:
        """Make the steps that are left of the stage; False where the loss is no longer finite."""
        settings = self.settings
        # Seconds go on counting where a resumed run was left.
        begin = time.perf_counter() - self.seconds
        while self.step < self.stage.last_step:
            if self._is_stale():
                self._report_early_stop()
                self.stage = replace(self.stage, stopped_early=True)
                return True
            self.history.add(self.update(loss_terms))
            self.step += 1
            self.seconds = time.perf_counter() - begin
            bar.update(1)
            if self._is_time_to(settings.log_every) and not self._log(bar):
                return False
            if self._is_time_to(settings.validate_every) and not self.stage.learns_from_all:
                self._validate()
            if self.step % settings.checkpoint_every == 0:
                self._save()
        return True

    def _is_stale(self) -> bool:
        patience = self.settings.patience
        if patience is None or self.stage.learns_from_all:
            return False
        return self.stale_validations >= patience

    def _learn_from_all(self) -> None:
        """Go on from where the validation was best, with what was held out as well."""
        if self.at_best is not None:
            self.optimizer.restore(self.at_best)
        n_steps = self.optimizer.n_steps
        n_more = self.settings.max_steps
        if n_steps:
            share = self.objective.held_out
            n_more = round(n_steps * share / (1 - share))
        self.objective.learn_from_all()
        self.companions = []
        self.at_best = None
        last_step = min(self.step + n_more, self.settings.max_steps)
        self.stage = replace(self.stage, last_step=last_step, learns_from_all=True)

    def _is_time_to(self, every: int) -> bool:
        # The last step too, so that nothing at the end goes unseen.
        is_last = self.step == self.stage.last_step
        return is_last or self.step % every == 0

    def _log(self, bar: Any) -> bool:
        """Append a row to the history; False where the loss is no longer finite."""
        rate = self.settings.learning_rate_at(self.optimizer.n_steps - 1)
        row = self.history.close_row(self.step, learning_rate=rate, seconds=self.seconds)
        labels = {"loss": f"{row['loss']:.4g}"}
        if math.isfinite(self.best_value):
            labels["val"] = f"{self.best_value:.4g}"
        bar.set_postfix(labels, refresh=False)
        if all(math.isfinite(row[name]) for name in ("loss", "gradient_norm")):
            return True
        self._warn_of_divergence(row)
        return False

    def _warn_of_divergence(self, row: dict[str, float]) -> None:
        settings = self.settings
        names = ", ".join(name for name, value in row.items() if not math.isfinite(value))
        warn(
            f"training diverged before step {self.step} ({names} not finite); "
            "the best weights so far are kept. Lower training.learning_rate "
            f"(now {settings.learning_rate:g}) or training.gradient_clip "
            f"(now {settings.gradient_clip})",
            RuntimeWarning,
            # Of the call of `train`.
        )

    def _validate(self) -> None:
        """Validate the averaged weights and keep them if they are the best so far."""
        value = self._validation()
        if value is None:
            # Nothing says which weights are best: the latest that are finite.
            if self._is_finite():
                self.best = copies(self.optimizer.average)
            return
        value = self._agreed(value)
        self.history.note("validation", value, step=self.step, seconds=self.seconds)
        if value < self.best_value:
            self.best_value, self.stale_validations = value, 0
            self.best = copies(self.optimizer.average)
            if self.objective.held_out:
                self.at_best = self.optimizer.snapshot()
        else:
            self.stale_validations += 1

    def _validation(self) -> float | None:
        """Validation of the averaged weights; with companions, the mean at the same step."""
        with self.optimizer.averaged():
            value = self.objective.validation(self.process)
        values = [value]
        for companion in self.companions:
            while companion.step < self.step:
                companion.update(companion.objective.loss)
                companion.step += 1
            values.append(companion._validation())
        total = 0.0
        for own in values:
            if own is None:
                return None
            total += own
        return total / len(values)

    def _agreed(self, value: float) -> float:
        """Mean over all processes, so that all of them stop at the same step."""
        if world() == 1:
            return value
        mean = torch.tensor([value], dtype=torch.float64, device=self.device)
        mean_over_processes([mean])
        return float(mean)

    def _report_early_stop(self) -> None:
        logger.info(
            "stopped at step %d: the validation loss has not improved on %.5g for %d validations; "
            "best weights restored",
            self.step,
            self.best_value,
            self.stale_validations,
        )

    def _is_finite(self) -> bool:
        averages = self.optimizer.average
        return all(bool(values.isfinite().all()) for values in averages)

    def _save(self) -> None:
        # Weights that are not finite would overwrite the last good ones.
        if self.file is None or rank() > 0 or not self._is_finite():
            return
        self.file.write(self._state())


def _shapes(values: list[Tensor]) -> list[tuple[int, ...]]:
    return [tuple(value.shape) for value in values]
