"""Some odd inputs with a fixed seed; `make fuzz` runs the rest."""

import pytest

from fuzz import judge
from fuzz.doors import DOORS

SEED = 1
COUNT = 5  # inputs a door: they take less than a minute in all
# Doors whose first input takes longer than all the rest.
LONG = (
    "DataManifold",
    "MeanAcceleration",
    "InternalEnergy",
    "Congestion",
    "WassersteinLagrangianFlow.fit",
    "FractionalSDE.fit",
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in DOORS if name not in LONG])
def test_odd_inputs_work_or_end_in_one_sentence(name, tmp_path, monkeypatch):
    # Some odd inputs are names of files, and some doors write them.
    monkeypatch.chdir(tmp_path)
    for number in range(COUNT):
        odd = judge.odd_input(name, SEED, number)
        code = DOORS[name].write(odd)
        ending = judge.run(code)
        assert not ending.fails, f"{ending.kind}: {ending.message}\n{code}"
