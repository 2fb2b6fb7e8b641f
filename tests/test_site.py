"""The site: formulas without a network, a page for every name, words that users search for."""

import pydoc
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

import dyninfer as di

pytest.importorskip("sphinx")
from extensions import gallery, names, reference, words
from extensions.formulas import mathml

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def tags(formula):
    return [element.tag for element in ElementTree.fromstring(mathml(formula)).iter()]


def text(formula):
    return "".join(ElementTree.fromstring(mathml(formula)).itertext()).split()


def test_both_digits_of_a_short_fraction_are_read_as_latex_reads_them():
    fraction = ElementTree.fromstring(mathml(r"\tfrac14 d")).find(".//mfrac")
    assert ["".join(part.itertext()).strip() for part in fraction] == ["1", "4"]


def test_an_index_stands_beside_a_letter_with_a_hat():
    assert "munderover" not in tags(r"\hat\rho_1(x)")
    assert "msub" in tags(r"\hat\rho_1(x)")
    # The limits of a sum stay above and below it.
    assert "munderover" in tags(r"\sum_{k=1}^n \hat\rho_k")


def test_a_function_is_not_cut_short():
    assert "tanh" in text(r"2\tanh(t/2)")


def formulas():
    for page in [
        *DOCS.glob("*.md"),
        *(DOCS / "methods").glob("*.md"),
        *(DOCS / "guide").glob("*.md"),
    ]:
        source = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
        yield from re.findall(r"\$\$(.+?)\$\$", source, flags=re.DOTALL)
        source = re.sub(r"\$\$.+?\$\$", "", source, flags=re.DOTALL)
        yield from re.findall(r"\$([^$]+)\$", source)
    for module in (ROOT / "dyninfer").rglob("*.py"):
        yield from re.findall(r":math:`([^`]+)`", module.read_text())


def test_every_formula_of_a_page_can_be_drawn():
    every = set(formulas())
    assert len(every) > 300
    assert all(mathml(formula).startswith("<math") for formula in every)


def listed():
    return Counter(name for room in reference.API.glob("*.md") for name in reference.listed(room))


def test_every_public_name_has_one_page():
    counts = listed()
    expected = set(names.NAMES.values()) - {"dyninfer.metrics.METRICS"}
    # A room of names is a page of its own kind.
    rooms = {f"dyninfer.{name}" for name in di.__all__ if not callable(getattr(di, name))}
    assert not expected - rooms - set(counts)
    assert max(counts.values()) == 1


def test_every_name_with_a_page_is_there():
    assert not [name for name in listed() if pydoc.locate(name) is None]


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("di.tl.fates", "dyninfer.tl.fates"),
        ("di.tl.fates(model, adata)", "dyninfer.tl.fates"),
        ("ActionMatching(sigma=...)", "dyninfer.ActionMatching"),
        ("fates", None),
        ("model.simulate(adata)", None),
    ],
)
def test_a_name_in_running_text_leads_to_its_page(code, name):
    assert names.page_of(code) == name


def test_the_words_that_users_search_for_lead_to_pages():
    entries = {word for page in words.PAGES.values() for word, _ in page}
    wanted = {"pseudotime", "fate", "driver gene", "10x", "h5ad", "GPU", "snapshot", "dwell time"}
    wanted |= {"hazard ratio", "msm", "deeptime", "hmmlearn"}
    assert not wanted - entries


def test_the_table_of_words_names_pages_that_are_there():
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
    pages |= {f"tutorials/{path.stem}" for path in (ROOT / "tutorials").glob("*.py")}
    assert not set(words.PAGES) - pages


def test_the_gallery_has_every_picture_in_a_few_lines_of_code():
    page = gallery.PAGE.read_text()
    drawn = {picture.split(".")[0] for picture in gallery.pictures()}
    assert drawn == set(di.pl.__all__)
    assert max(len(code.splitlines()) for code in gallery.BLOCK.findall(page)) <= 8


def test_a_picture_of_the_gallery_follows_its_code_and_is_linked(tmp_path):
    page = "# Gallery\n\n### A map\n\n```python\ndi.pl.mass(x)\n```\n\n### Next\n"
    (tmp_path / "mass.png").touch()
    shown = gallery.with_pictures(page, tmp_path)
    assert shown.index('href="#gallery-mass"') < shown.index("(gallery-mass)=")
    assert shown.index("di.pl.mass") < shown.index("{image} _static/gallery/mass.png")
    assert shown.index("{image}") < shown.index("### Next")


@pytest.mark.slow
def test_the_code_of_the_gallery_draws_every_picture(tmp_path):
    gallery.draw(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} >= gallery.pictures()


@pytest.mark.slow
def test_the_site_builds_without_warnings_and_fetches_nothing(tmp_path):
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "-D",
        "nb_execution_mode=off",
        "-b",
        "html",
    ]
    subprocess.run([*command, str(DOCS), str(tmp_path)], check=True)
    fetched = []
    for page in [*tmp_path.rglob("*.html"), *tmp_path.rglob("*.css")]:
        source = page.read_text()
        fetched += re.findall(r"""(?:src|import)\s*=?\s*["'](?:https?:)?//[^"']+""", source)
        fetched += re.findall(r"""<link[^>]+href=["'](?:https?:)?//[^"']+""", source)
        fetched += re.findall(r"""url\(["']?(?:https?:)?//[^)]+""", source)
    assert not fetched
