"""The one training loop: plain torch, any device, resumable bit for bit, one process or several."""

from __future__ import annotations

import logging
import math
import os
import pickle
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from dyninfer.learning.objective import Batch, Objective
from dyninfer.learning.parallel import mean_over_processes, rank, share, threads, world
from dyninfer.learning.settings import Settings

logger = logging.getLogger("dyninfer")

Precision = Literal["float32", "float64", "bfloat16"]


@dataclass(kw_only=True, repr=False, eq=False)
class Training(Settings):
    """Settings of the training loop.

    Parameters
    ----------
    max_steps : int
        Steps of the optimiser at most.
    batch_size : int
        Samples per step, over all processes together.
    learning_rate : float
        Peak learning rate of AdamW.
    warmup_steps : int
        Steps over which the learning rate rises linearly to its peak; afterwards it falls along a cosine.
    final_learning_rate : float
        Learning rate at ``max_steps`` as a fraction of the peak.
    weight_decay : float
        Decoupled weight decay.
    gradient_clip : float or None
        Largest global norm of the gradient.
    ema_decay : float
        Decay of the averaged weights, which are the result; it rises to this value as ``(1 + n) / (10 + n)``.
    validation_fraction : float
        Part of every snapshot kept for early stopping; 0 trains on everything for ``max_steps``.
    validate_every : int
        Steps between two validations.
    patience : int or None
        Validations without improvement after which training stops; None never stops early.
    log_every : int
        Steps between two rows of the history.
    checkpoint_every : int
        Steps between two checkpoints, where a checkpoint file was given.
    device : str
        "auto" takes a GPU where there is one; otherwise any torch device.
    threads : int, optional
        CPU threads; by default one for networks of fewer than 300,000 parameters, where more would mostly wait for each
        other, and torch's own number above.
    precision : {"float32", "float64", "bfloat16"}
        Number format; bfloat16 computes the loss under autocast and keeps float32 weights.
    compile : bool
        Compile the loss with ``torch.compile``: a few seconds at the start, faster steps for small networks.
    """

    max_steps: int = 4000
    batch_size: int = 512
    learning_rate: float = 3e-3
    warmup_steps: int = 100
    final_learning_rate: float = 0.01
    weight_decay: float = 1e-5
    gradient_clip: float | None = 1.0
    ema_decay: float = 0.999
    validation_fraction: float = 0.1
    validate_every: int = 200
    patience: int | None = 8
    log_every: int = 20
    checkpoint_every: int = 500
    device: str = "auto"
    threads: int | None = None
    precision: Precision = "float32"
    compile: bool = False

    def check(self) -> Training:
        """Return self, or raise a ValueError or TypeError naming the setting that cannot be."""
        self.check_kinds("training.")
        for name in ("max_steps", "batch_size", "validate_every", "log_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"training.{name} must be at least 1, found {getattr(self, name)}")
        for name, low, high in (
            ("validation_fraction", 0, 0.9),
            ("ema_decay", 0, 1),
            ("final_learning_rate", 0, 1),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(
                    f"training.{name} must lie in [{low}, {high}], found {getattr(self, name)}"
                )
        for name in ("learning_rate", "gradient_clip"):
            value = getattr(self, name)
            if not (value is None and name == "gradient_clip") and not value > 0:
                raise ValueError(f"training.{name} must be positive, found {value}")
        for name in ("warmup_steps", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise ValueError(
                    f"training.{name} must not be negative, found {getattr(self, name)}"
                )
        if self.patience is not None and self.patience < 1:
            raise ValueError(
                f"training.patience must be at least 1, or None to never stop early; found {self.patience}"
            )
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"training.threads must be at least 1, or None, found {self.threads}")
        if self.precision not in ("float32", "float64", "bfloat16"):
            raise ValueError(
                f"training.precision must be float32, float64 or bfloat16, found {self.precision!r}"
            )
        return self

    @property
    def dtype(self) -> torch.dtype:
        """Number format of weights and data."""
        return torch.float64 if self.precision == "float64" else torch.float32

    def learning_rate_at(self, step: int) -> float:
        """Learning rate at a step: linear warm-up, then a cosine."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        progress = min((step - self.warmup_steps) / max(self.max_steps - self.warmup_steps, 1), 1.0)
        low = self.final_learning_rate
        return self.learning_rate * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * progress)))


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
        Trained in place; ends with the averaged weights of the best validation (or of the last step).
    objective : Objective
    settings : Training
    seed : int
        Fixes all draws. With several processes (``torchrun``) every process draws the same batch and takes its share of
        it, so the result does not depend on their number beyond rounding.
    checkpoint : path, optional
        File for the state of the run, rewritten as a whole every ``checkpoint_every`` steps and at the end.
    resume : bool
        Continue from ``checkpoint`` if it exists; on one device the result is then the same to the last bit.
    progress : bool
        Show a progress bar.
    identity : dict of str, optional
        What the run is of, by name (settings, data): a checkpoint in which one of them differs is not resumed.
    paces : dict of str, optional
        Multiples of the learning rate, by the beginning of the names of the parameters that have them.

    Notes
    -----
    Ctrl-C ends the run and keeps the model so far; a loss that is not finite ends it with a warning.
    """
    identity = {"seed": str(seed), "precision": settings.precision, **(identity or {})}
    run = _Run(
        process, objective, settings.check(), seed, checkpoint, resume, identity, paces or {}
    )
    # Small matrices gain nothing from a second thread, and lose much where the cores are shared.
    small = run.device.type == "cpu" and sum(p.numel() for p in run.parameters) < 300_000
    with threads(settings.threads or (1 if small else None)):
        return run.go(progress)


class _Run:
    """One run of the loop: everything that a checkpoint must hold."""

    def __init__(
        self,
        process: nn.Module,
        objective: Objective,
        settings: Training,
        seed: int,
        checkpoint: str | Path | None,
        resume: bool,
        identity: dict[str, str],
        paces: dict[str, float],
    ):
        self.process, self.objective, self.settings = process, objective, settings
        self.parameters = [p for p in process.parameters() if p.requires_grad]
        self.device = self.parameters[0].device
        self.generator = torch.Generator(self.device).manual_seed(seed)
        # Foreach and fused Adam give the same numbers; fused is one launch and is not there on every device.
        fused = self.device.type in ("cpu", "cuda")
        groups = _groups(process, paces)
        self.paces = list(groups)
        self.optimizer = torch.optim.AdamW(
            [{"params": group} for group in groups.values()],
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=fused,
        )
        self.average = [p.detach().clone() for p in self.parameters]
        self.best, self.best_value, self.stale = [a.clone() for a in self.average], math.inf, 0
        self.step, self.seconds = 0, 0.0
        self.rows: list[dict[str, Any]] = []
        self.sums: dict[str, Tensor] = {}  # of the terms since the last row
        self.identity = identity
        self.path = None if checkpoint is None else Path(checkpoint)
        if self.path is not None and not self.path.parent.is_dir():
            raise ValueError(
                f"the folder of checkpoint {str(checkpoint)!r} does not exist; create it first"
            )
        if self.path is not None and self.path.exists() and not self.path.is_file():
            raise ValueError(f"checkpoint {str(checkpoint)!r} is a folder or a device; name a file")
        if settings.batch_size < world():
            raise ValueError(
                f"training.batch_size ({settings.batch_size}) must be at least the number of processes ({world()})"
            )
        if resume:
            self._restore()

    def go(self, progress: bool) -> Result:
        settings, status = self.settings, "finished"
        loss_terms = torch.compile(self.objective.loss) if settings.compile else self.objective.loss
        begin, offset = time.perf_counter(), self.seconds
        with _bar(progress and rank() == 0, settings.max_steps, self.step) as bar:
            try:
                while self.step < settings.max_steps and not self._out_of_patience():
                    terms = self._update(loss_terms)
                    for name, value in terms.items():
                        self.sums[name] = self.sums[name] + value if name in self.sums else value
                    self.step += 1
                    bar.update(1)
                    self.seconds = offset + time.perf_counter() - begin
                    last = self.step == settings.max_steps
                    if self.step % settings.log_every == 0 or last:
                        if not self._log(bar):
                            status = "diverged"
                            break
                        self.sums = {}
                    if self.step % settings.validate_every == 0 or last:
                        self._validate()
                    if self.step % settings.checkpoint_every == 0:
                        self._save()
                if status == "finished" and self.step < settings.max_steps:
                    status = "stopped early"
                    logger.info(
                        "stopped at step %d: the validation loss has not improved on %.5g for %d validations; best weights restored",
                        self.step,
                        self.best_value,
                        self.stale,
                    )
            except KeyboardInterrupt:
                status = "interrupted"
                logger.warning("interrupted at step %d: the model so far is kept", self.step)
        # Without a validation the averaged weights of the last step are the result.
        keep = self.average if math.isinf(self.best_value) and status != "diverged" else self.best
        if status in ("finished", "stopped early"):
            self._save()
        with torch.no_grad():
            for p, value in zip(self.parameters, keep, strict=True):
                p.copy_(value)
        return Result(pd.DataFrame(self.rows), status)

    def _update(
        self, loss_terms: Callable[[nn.Module, Batch], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        settings = self.settings
        batch, portion = share(self.objective.batch(settings.batch_size, self.generator))
        self.optimizer.zero_grad(set_to_none=True)
        autocast = settings.precision == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=autocast):
            terms = loss_terms(self.process, batch)
        (terms["loss"].mean() * portion).backward()
        mean_over_processes([p.grad for p in self.parameters if p.grad is not None])
        clip = settings.gradient_clip
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, math.inf if clip is None else clip)
        for group, pace in zip(self.optimizer.param_groups, self.paces, strict=True):
            group["lr"] = settings.learning_rate_at(self.step) * pace
        self.optimizer.step()
        decay = min(settings.ema_decay, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - decay)
        self.objective.observe(batch, terms)
        return {
            **{name: value.detach().mean() * portion for name, value in terms.items()},
            "gradient_norm": norm,
        }

    def _log(self, bar: Any) -> bool:
        """Append a row to the history; False where the loss is no longer finite."""
        steps = (self.step - 1) % self.settings.log_every + 1
        values = torch.stack([s.double() for s in self.sums.values()])
        mean_over_processes([values])
        row = dict(zip(self.sums, (values / steps).tolist(), strict=True))
        self.rows.append(
            {
                "step": self.step,
                **row,
                "learning_rate": self.settings.learning_rate_at(self.step - 1),
                "seconds": self.seconds,
            }
        )
        shown = {"loss": f"{row['loss']:.4g}"}
        if math.isfinite(self.best_value):
            shown["val"] = f"{self.best_value:.4g}"
        bar.set_postfix(shown, refresh=False)
        if math.isfinite(row["loss"]) and math.isfinite(row["gradient_norm"]):
            return True
        bad = [name for name, value in row.items() if not math.isfinite(value)]
        warnings.warn(
            f"training diverged before step {self.step} ({', '.join(bad)} not finite); the best weights so far are kept. "
            f"Lower training.learning_rate (now {self.settings.learning_rate:g}) or training.gradient_clip "
            f"(now {self.settings.gradient_clip})",
            RuntimeWarning,
            stacklevel=4,
        )
        return False

    def _validate(self) -> None:
        """Validate the averaged weights and keep them if best."""
        with self._averaged():
            value = self.objective.validation(self.process)
        if value is None:
            if self._finite():
                self.best = [a.clone() for a in self.average]
            return
        agreed = torch.tensor([value], dtype=torch.float64)
        if world() > 1:
            agreed = agreed.to(self.device)
            mean_over_processes([agreed])  # all processes stop at the same step
        value = float(agreed)
        self.rows[-1 if self.rows and self.rows[-1]["step"] == self.step else self._new_row()][
            "validation"
        ] = value
        if value < self.best_value:
            self.best_value, self.stale = value, 0
            self.best = [a.clone() for a in self.average]
        else:
            self.stale += 1

    def _finite(self) -> bool:
        return all(bool(a.isfinite().all()) for a in self.average)

    def _out_of_patience(self) -> bool:
        return self.settings.patience is not None and self.stale >= self.settings.patience

    def _new_row(self) -> int:
        self.rows.append({"step": self.step, "seconds": self.seconds})
        return -1

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Put the averaged weights into the module for a while."""
        kept = [p.detach().clone() for p in self.parameters]
        with torch.no_grad():
            for p, a in zip(self.parameters, self.average, strict=True):
                p.copy_(a)
        try:
            yield
        finally:
            with torch.no_grad():
                for p, k in zip(self.parameters, kept, strict=True):
                    p.copy_(k)

    def _save(self) -> None:
        if self.path is None or rank() > 0 or not self._finite():
            return
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "rows": self.rows,
            "sums": self.sums,
            "best_value": self.best_value,
            "stale": self.stale,
            "parameters": [p.detach() for p in self.parameters],
            "average": self.average,
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "objective": self.objective.state(),
            "identity": self.identity,
        }
        partial = self.path.with_name(self.path.name + ".partial")
        try:
            torch.save(state, partial)
            os.replace(partial, self.path)
        except (OSError, RuntimeError) as error:  # a full disk must not cost the fit
            warnings.warn(
                f"the checkpoint {str(self.path)!r} could not be written ({error}); training goes on",
                stacklevel=4,
            )
        finally:
            partial.unlink(missing_ok=True)

    def _restore(self) -> None:
        if self.path is None:
            raise ValueError(
                "resume=True needs the checkpoint file to resume from; give checkpoint="
            )
        if not self.path.exists():
            return
        state = _checkpoint(self.path, self.device)
        shapes = [tuple(p.shape) for p in state["parameters"]]
        if shapes != [tuple(p.shape) for p in self.parameters]:
            raise ValueError(
                f"checkpoint {str(self.path)!r} is of another model (its weights have other shapes); remove it"
            )
        other = [
            name for name, value in self.identity.items() if state["identity"].get(name) != value
        ]
        if other:
            raise ValueError(
                f"checkpoint {str(self.path)!r} is of a run with other {' and '.join(other)}; "
                "remove it, or give what it was made with"
            )
        with torch.no_grad():
            for p, saved in zip(self.parameters, state["parameters"], strict=True):
                p.copy_(saved)
        self.average, self.best = state["average"], state["best"]
        self.step, self.seconds = state["step"], state["seconds"]
        self.rows, self.sums = state["rows"], state["sums"]
        self.best_value, self.stale = state["best_value"], state["stale"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"].cpu())
        self.objective.restore(state["objective"])


def _groups(process: nn.Module, paces: dict[str, float]) -> dict[float, list[nn.Parameter]]:
    """Parameters that learn, by the multiple of the learning rate that they have."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, p in process.named_parameters():
        if p.requires_grad:
            pace = next((pace for start, pace in paces.items() if name.startswith(start)), 1.0)
            groups.setdefault(pace, []).append(p)
    return groups


def _checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint, or raise a ValueError where the file is not one."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
        state = None
    if not isinstance(state, dict) or not {"parameters", "identity"} <= state.keys():
        raise ValueError(
            f"checkpoint {str(path)!r} is damaged, or not one that this version wrote; remove it to start anew"
        )
    return state


@contextmanager
def _bar(show: bool, total: int, initial: int) -> Iterator[Any]:
    from tqdm.auto import tqdm

    # A log file is not a screen: there, a line every ten seconds is enough.
    screen = sys.stderr.isatty() or "ipykernel" in sys.modules
    every = 0.3 if screen else 10.0
    with tqdm(
        total=total, initial=initial, disable=not show, unit="step", mininterval=every
    ) as bar:
        yield bar
