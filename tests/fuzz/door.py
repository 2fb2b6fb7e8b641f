"""A public function, and how odd inputs for it are written."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from fuzz import values

Draw = Callable[[random.Random], str]
# An argument: what works (None: it is left out), and the odd values in its place.
Argument = tuple[str | None, Draw]


@dataclass(frozen=True)
class Door:
    """A public function.

    Attributes
    ----------
    code : str
        A call, with the names of groups of arguments in braces.
    groups : dict
        Arguments of each group, by name.
    """

    code: str
    groups: dict[str, dict[str, Argument]] = field(default_factory=dict)

    def draw(self, rng: random.Random) -> dict[tuple[str, str], str]:
        """Odd values for one to three arguments, by group and name."""
        names = [(group, name) for group, members in self.groups.items() for name in members]
        n = rng.choices((1, 2, 3), (6, 3, 1))[0]
        odd = {}
        for group, name in rng.sample(names, min(n, len(names))):
            _, values_of = self.groups[group][name]
            odd[group, name] = values_of(rng)
        return odd

    def write(self, odd: dict[tuple[str, str], str]) -> str:
        """The call with these values, and with plain ones for the rest."""
        texts = {}
        for group, members in self.groups.items():
            words = []
            for name, (plain, _) in members.items():
                code = odd.get((group, name), plain)
                if code is not None:
                    words.append(code if name.isdigit() else f"{name}={code}")
            texts[group] = ", ".join(words)
        return self.code.format(**texts)


def settings(cls: type, **plain: str) -> dict[str, Argument]:
    """Every parameter of a class of settings; those named here have a plain value."""
    return {name: (plain.get(name), values.scalar) for name in cls._get_param_names()}


def options(names: str, **plain: str) -> dict[str, Argument]:
    return {name: (plain.get(name), values.scalar) for name in names.split()}


def of_kind(draw: Draw, names: str, plain: str | None = None) -> dict[str, Argument]:
    return dict.fromkeys(names.split(), (plain, draw))
