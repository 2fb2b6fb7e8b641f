"""The examples of docstrings print what they say."""

import doctest
import importlib
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

ROOT = Path(__file__).parents[1]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules():
    for file in sorted((ROOT / "dyninfer").rglob("*.py")):
        if ">>> " in file.read_text(encoding="utf-8"):
            place = file.relative_to(ROOT).with_suffix("")
            yield ".".join(place.parts).removesuffix(".__init__")


@pytest.mark.parametrize("name", list(modules()))
@pytest.mark.filterwarnings("ignore")
def test_examples_print_what_they_say(name):
    plt.switch_backend("Agg")
    results = doctest.testmod(importlib.import_module(name), optionflags=OPTIONS)
    plt.close("all")
    assert results.attempted > 0
    assert results.failed == 0
