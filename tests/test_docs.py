"""The code that the documentation shows is code that runs."""

import importlib
import re
from pathlib import Path

import pytest
import torch

import dyninfer as di
from dyninfer.learning.settings import Settings

ROOT = Path(__file__).parents[1]
STEPS = 3


def blocks(page: str) -> list[str]:
    return re.findall(
        r"^```python\n(.*?)^```", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE
    )


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Train for a few steps only, and write files where nobody looks."""
    import matplotlib

    matplotlib.use("Agg")
    fit = di.SnapshotEstimator.fit

    def few_steps(self, data, **options):
        return fit(self, data, **{**options, "max_steps": STEPS, "progress": False})

    monkeypatch.setattr(di.SnapshotEstimator, "fit", few_steps)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def straight_flow():
    """The worked example of the page: the file that the page shows."""
    page = (ROOT / "docs/guide/add-an-estimator.md").read_text()
    file = re.search(r"\{literalinclude\} (\S+)", page)[1]
    text = (ROOT / "docs/guide" / file).read_text()
    names = {"__name__": "worked_example"}
    before = dict(Settings.registry)
    exec(text, names)
    yield names
    # Only its own: methods of the package may have been imported, and so known, meanwhile.
    for name, kind in list(Settings.registry.items()):
        if kind.__module__ == "worked_example":
            # Other tests import the same file, whose class of that name comes back.
            known = {name: before[name]} if name in before else {}
            del Settings.registry[name]
            Settings.registry.update(known)


def test_worked_example_fulfils_the_contract(straight_flow):
    exec(blocks("docs/guide/add-an-estimator.md")[0], straight_flow)
    assert straight_flow["model"].status_ == "finished"


def test_worked_example_carries_one_gaussian_into_another(straight_flow):
    g = torch.Generator().manual_seed(0)
    first = torch.randn(1000, 2, generator=g)
    second = torch.tensor([4.0, 0.0]) + 0.5 * torch.randn(1000, 2, generator=g)
    model = straight_flow["StraightFlow"]()
    model.fit(di.Snapshots(times=[1, 3], samples=[first, second]), max_steps=600, progress=False)
    end = model.simulate(first, [1, 3]).at(3)
    torch.testing.assert_close(end.mean(0), torch.tensor([4.0, 0.0]), atol=0.1, rtol=0)
    torch.testing.assert_close(end.std(0), torch.tensor([0.5, 0.5]), atol=0.06, rtol=0)
    # For Gaussians with proportional covariances optimal transport moves every cell at constant velocity.
    straight = 1.0 + 4.0 * (2.0 - 1.0) / 2 - 1.0
    assert model.simulate(first, [1, 2]).at(2).mean(0)[0].item() == pytest.approx(straight, abs=0.1)


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/getting-started.md",
        "docs/index.md",
        "docs/guide/own-network.md",
        "docs/methods/markov_jump.md",
        "docs/methods/kramers_moyal.md",
        "docs/methods/drift_families.md",
        "docs/methods/vector_field.md",
    ],
)
def test_example_runs(page, quick):
    for code in blocks(page):
        exec(code, {"__name__": "example"})


def test_examples_of_the_data_page_run(quick):
    for code in blocks("docs/guide/data.md"):
        if "import" in code:
            exec(code, {"__name__": "example"})


def test_examples_of_the_tracks_page_run_one_after_another():
    exec("".join(blocks("docs/guide/tracks.md")), {"__name__": "example"})


def test_every_page_that_is_linked_exists():
    missing = []
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            if "://" in target or "tutorials/" in str(page):
                continue
            found = (page.parent / target).resolve()
            # The site copies tutorials/ below docs/ when it is built.
            if not found.exists() and not (ROOT / "tutorials" / found.name).exists():
                missing.append(f"{page.name}: {target}")
    assert not missing


def test_every_make_target_that_a_page_names_exists():
    targets = set(
        re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    )
    named = set()
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        named |= set(re.findall(r"`make ([a-z-]+)`", page.read_text()))
    assert named <= targets
    assert {"demo", "test", "check", "science", "bench", "tutorials", "docs", "clean"} <= targets


def pages():
    top = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")]
    return [*top, *(ROOT / "docs").rglob("*.md"), *(ROOT / "tutorials").glob("*.py")]


def resolves(name):
    """Whether ``dyninfer.a.b`` is a module, or something in one, or on the public face."""
    parts = name.split(".")
    for k in range(len(parts), 0, -1):
        try:
            place = importlib.import_module(".".join(parts[:k]))
        except ModuleNotFoundError:
            continue
        for part in parts[k:]:
            place = getattr(place, part, None)
        return place is not None
    return False


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_name_of_the_package_that_a_page_mentions_is_there(page):
    text = page.read_text()
    names = [f"dyninfer.{name}" for name in re.findall(r"\bdi\.([A-Za-z_][\w.]*\w)", text)]
    names += re.findall(r"\bdyninfer(?:\.[A-Za-z_]\w*)+", text)
    missing = sorted({name for name in names if not resolves(name)})
    assert not missing


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_file_of_the_package_that_a_page_mentions_is_there(page):
    roots = (ROOT, ROOT / "dyninfer", ROOT / "tests")
    missing = []
    for name in re.findall(r"`([a-z_]+(?:/[a-z_0-9]+)+\.(?:py|md))`", page.read_text()):
        if not any((root / name).exists() for root in roots):
            missing.append(name)
    assert not missing


def test_scripts_beside_the_pages_are_no_pages():
    """A script that is not excluded is executed as a notebook by the full build alone."""
    text = (ROOT / "docs" / "conf.py").read_text()
    scripts = [path.name for path in (ROOT / "docs").glob("*.py")]
    excluded = text.split("exclude_patterns = [")[1].split("]")[0]
    assert [name for name in scripts if f'"{name}"' not in excluded] == []
