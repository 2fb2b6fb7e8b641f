"""Settings of the training loop for equations with networks."""

from __future__ import annotations

from dyninfer.learning.training import Training


def default_training() -> Training:
    """Settings of the training loop that suit a few dozen paths."""
    return Training(
        max_steps=500,
        batch_size=16,
        # A few hundred steps of small networks bear a high rate, and need a short average.
        learning_rate=1e-2,
        warmup_steps=20,
        ema_decay=0.99,
        # Of a few dozen paths, none is spared for validation.
        validation_fraction=0.0,
        log_every=10,
    )
