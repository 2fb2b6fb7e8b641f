"""Settings objects: scikit-learn parameters that turn into plain data and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sklearn.base import BaseEstimator


@dataclass(kw_only=True, repr=False, eq=False)
class Settings(BaseEstimator):
    """Base of every object that is configured by keywords: estimators, training, couplings.

    ``get_params``, ``set_params``, ``clone`` and the repr come from scikit-learn. A subclass registers itself by name, which
    is how a file of settings finds its class without naming a module to import.
    """

    registry: ClassVar[dict[str, type[Settings]]] = {}

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        Settings.registry[cls.__name__] = cls


def to_plain(value: Any, name: str = "value") -> Any:
    """Turn settings into what JSON can hold.

    Raises
    ------
    TypeError
        If a setting is a function or another object without a plain form.
    """
    if isinstance(value, Settings):
        params = value.get_params(deep=False)
        return {"class": type(value).__name__, "settings": {k: to_plain(v, k) for k, v in params.items()}}
    if isinstance(value, (list, tuple)):
        return [to_plain(v, name) for v in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(
        f"setting {name!r} is a {type(value).__name__}, which cannot be saved; use numbers, text or named settings"
    )


def from_plain(value: Any) -> Any:
    """Undo :func:`to_plain`.

    Raises
    ------
    ValueError
        If the class is not known; a class of the user's own must be imported first.
    """
    if isinstance(value, dict):
        name = value["class"]
        if name not in Settings.registry:
            raise ValueError(
                f"the file holds a {name!r}, which is not known here; import the module that defines it, then load again "
                f"(known: {', '.join(sorted(Settings.registry))})"
            )
        return Settings.registry[name](**{k: from_plain(v) for k, v in value["settings"].items()})
    return [from_plain(v) for v in value] if isinstance(value, list) else value
