"""How a camera sees a moving particle: settings of the positions of tracks."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dyninfer.learning.settings import Settings, brief, check_word

# From the time of a position to the middle of its exposure, in exposures.
_SHIFTS = {"start": 0.5, "middle": 0.0, "end": -0.5}


@dataclass(kw_only=True, repr=False, eq=False)
class Localisation(Settings):
    """How a camera records a moving particle: with motion blur and an error of position.

    A position is the mean of the path over an exposure, plus independent noise. Blur shortens short
    displacements and the error lengthens them, so either one alone biases the index.

    Parameters
    ----------
    exposure : float
        Fraction of a frame during which the shutter is open, from 0 to 1.
    error : float, str or list of str, optional
        Standard deviation of a position error, in the units of the data. A string names the column
        of ``Paths.covariates`` with the error of every position, as trackers report it; a list
        names one column per feature. None learns one for every feature.
    frame : float, optional
        Duration of a frame; None takes the shortest gap of the data. It is needed if all gaps are
        longer than a frame.
    stamp : {"middle", "start", "end"}
        Point of the exposure at which the time of a position is stamped. ``posterior`` and
        ``forecast`` locate the particle at such times: "start" and "end" are half an exposure from
        the middle. Index and error hardly depend on it.

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
        """Raise a ValueError that names an invalid setting."""
        prefix = "observation_noise."
        self.check_kinds(prefix)
        if not 0 <= self.exposure <= 1:
            raise ValueError(
                f"{prefix}exposure is a share of a frame, 0 to 1; found {brief(self.exposure)}"
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
                "the share of a frame during which the shutter is open"
            )

    @property
    def common_error(self) -> float | None:
        """The error common to all positions, if it is given."""
        if isinstance(self.error, str | list | tuple):
            return None
        return self.error

    @property
    def error_columns(self) -> tuple[str, ...]:
        """Columns of the covariates with the error of every position."""
        if isinstance(self.error, str):
            return (self.error,)
        if isinstance(self.error, list | tuple):
            return tuple(self.error)
        return ()

    @property
    def shift(self) -> float:
        """Time from the stamp of a position to the middle of its exposure, in exposures."""
        return _SHIFTS[self.stamp]

    def time_of(self, least_gap: float) -> float:
        """Duration of an exposure, or a ValueError if it exceeds the gap between two positions."""
        frame = self.frame or least_gap
        exposure = self.exposure * frame
        # A gap of one frame may differ from it by rounding.
        if exposure > least_gap * (1 + 1e-6):
            raise ValueError(
                f"an exposure takes {exposure:g}, but two positions of a path are {least_gap:g} "
                "apart; give observation_noise.frame in the unit of the times"
            )
        return exposure
