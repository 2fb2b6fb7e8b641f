"""A page for every class and function that a page of docs/api lists."""

import inspect
import pydoc
import re
from pathlib import Path

from dyninfer.estimators import registry

API = Path(__file__).parents[1] / "api"
PAGES = API / "generated"
LISTS = re.compile(r"\.\. autosummary::\n(?:   :.*\n)*\n((?:   \S+\n)+)")

# No link of the sidebar leads here: with three hundred more, every page of the site would be
# three times as large.
PAGE = """:orphan:

{title}
{line}

:doc:`/api/index` › :doc:`/api/{room}`

{picture}.. auto{kind}:: {name}
{options}"""
PICTURE = "The :ref:`gallery <gallery-{name}>` shows this picture and the code that drew it.\n\n"
MEMBERS = """   :members:
   :inherited-members: tuple, dict, Sequence, DataFrame, Exception
"""
# Of these a user of a method has no need: they are for who writes one, and are on the pages of
# the base classes.
HOOKS = """
    annotations build check check_kinds citation conserves_mass continuation covariate_columns decode
    decoded_features default_training discrete facts finish learn make_objective observations observe
    rate_columns read reason_against_snapshots registry states_at tables takes_covariates to_plain
    uses uses_growth with_units
"""
# What a class inherits from these says nothing about dynamics.
OTHERS = ("sklearn", "torch", "pandas")


def listed(room):
    """Full names in the tables of a page of docs/api."""
    return " ".join(LISTS.findall(room.read_text(encoding="utf-8"))).split()


def page(name, room):
    thing = pydoc.locate(name)
    is_class = inspect.isclass(thing)
    options = MEMBERS if is_class else ""
    if is_class and thing in registry().values():
        options += f"   :exclude-members: {', '.join(HOOKS.split())}\n"
    title = name.rsplit(".", 1)[1]
    return PAGE.format(
        title=title,
        line="=" * len(title),
        room=room,
        picture=PICTURE.format(name=title) if room == "plotting" else "",
        kind="class" if is_class else "function",
        name=name,
        options=options,
    )


def write_pages(folder=PAGES):
    """Write the pages; those that have not changed keep their date, and are not built again."""
    folder.mkdir(exist_ok=True)
    pages = {}
    for room in sorted(API.glob("*.md")):
        for name in listed(room):
            pages[folder / f"{name}.rst"] = page(name, room.stem)
    for old in set(folder.glob("*.rst")) - set(pages):
        old.unlink()
    for path, text in pages.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def skip_others(app, what, name, member, skip, options):
    module = getattr(member, "__module__", None) or ""
    return True if module.split(".")[0] in OTHERS else None


def setup(app):
    write_pages()
    app.connect("autodoc-skip-member", skip_others)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
