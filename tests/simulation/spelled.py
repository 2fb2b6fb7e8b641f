"""Solvers of the tests by name, with those of some settings that they have."""

from dyninfer.simulation import solvers


def spelled(spelling, **settings):
    """The solver of a spelling; settings that it does not have are left out."""
    solver = solvers.named(spelling)
    own = solver.get_params(deep=False)
    return solver.set_params(**{name: value for name, value in settings.items() if name in own})
