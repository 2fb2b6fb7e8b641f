"""How a camera sees a moving particle: settings of the positions of tracks."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dyninfer.learning.settings import Settings, brief, check_word

# From the time of a position to the middle of its exposure, in exposures.
_SHIFTS = {"start": 0.5, "middle": 0.0, "end": -0.5}


@dataclass(kw_only=True, repr=False, eq=False)
class Localisation(Settings):
    """How a camera sees a moving particle: blurred by its exposure, and with an error.

    A position is the mean of the path over an exposure, plus independent noise. Blur takes from
    short displacements what the error adds, so that either alone bends the index.

    Parameters
    ----------
    exposure : float
        Part of a frame during which the shutter is open, from 0 to 1.
    error : float, str or list of str, optional
        Standard deviation of the noise of a position, in the units of the data. Text names the
        column of ``Paths.covariates`` that holds one for every position, as trackers report it; a
        list names a column for each feature. None learns one for every feature.
    frame : float, optional
        Time of a frame; None takes the shortest gap of the data. It is needed where all gaps are
        longer than a frame.
    stamp : {"middle", "start", "end"}
        When, in its exposure, the time of a position was taken. ``posterior`` and ``forecast`` say
        where the particle was at such times: half an exposure from the middle of a position.
        Index and error hardly depend on it.

    Examples
    --------
    >>> import dyninfer as di
    >>> camera = di.Localisation(exposure=0.5)
    >>> di.FractionalSDE(drift="none", observation_noise=camera).observation_noise
    Localisation(exposure=0.5)
    """

    exposure: float = 0.0
    error: float | str | list[str] | None = None
    frame: float | None = None
    stamp: str = "middle"

    def check(self) -> None:
        """Raise a ValueError naming a setting that cannot be."""
        prefix = "observation_noise."
        self.check_kinds(prefix)
        if not 0 <= self.exposure <= 1:
            raise ValueError(
                f"{prefix}exposure is a part of a frame, 0 to 1; found {brief(self.exposure)}"
            )
        if self.error_columns == () and self.common_error is None and self.error is not None:
            raise ValueError(
                f"{prefix}error names no column; name one for all features or one for each, or "
                "give None to learn an error"
            )
        for name in ("common_error", "frame"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                setting = name.removeprefix("common_")
                raise ValueError(
                    f"{prefix}{setting} must be positive, or None; found {brief(value)}"
                )
        check_word(self.stamp, f"{prefix}stamp", tuple(_SHIFTS))
        if self.stamp != "middle" and self.exposure == 0:
            raise ValueError(
                f"{prefix}stamp says when in an exposure a time was taken, and exposure is 0; give "
                "the part of a frame during which the shutter is open"
            )

    @property
    def common_error(self) -> float | None:
        """One error of all positions, where it is given."""
        if isinstance(self.error, str | list | tuple):
            return None
        return self.error

    @property
    def error_columns(self) -> tuple[str, ...]:
        """Columns of the covariates that hold an error for every position."""
        if isinstance(self.error, str):
            return (self.error,)
        if isinstance(self.error, list | tuple):
            return tuple(self.error)
        return ()

    @property
    def shift(self) -> float:
        """Time from a position's own to the middle of its exposure, in exposures."""
        return _SHIFTS[self.stamp]

    def time_of(self, least_gap: float) -> float:
        """Time of an exposure, or a ValueError where it is longer than the gap of two positions."""
        frame = self.frame or least_gap
        exposure = self.exposure * frame
        # A gap of one frame may differ from it by rounding.
        if exposure > least_gap * (1 + 1e-6):
            raise ValueError(
                f"an exposure takes {exposure:g}, but two positions of a path are {least_gap:g} "
                "apart; give observation_noise.frame in the unit of the times"
            )
        return exposure
