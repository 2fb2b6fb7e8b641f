"""Names of the package in running text lead to their pages: `di.tl.fates`, `ActionMatching(sigma=1)`."""

import re

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

import dyninfer as di

NAME = re.compile(r"(?:(?:di|dyninfer)\.)?([A-Za-z_][\w.]*)(?:\(.*\))?", flags=re.DOTALL)
ROOMS = ("tl", "pl", "metrics", "datasets", "simulators", "solvers", "testing")


def public_names():
    """Full name of every class and function, by the names that a text may call it."""
    # Names that stand alone are those of classes: as words, functions mean many things.
    names = {name: f"dyninfer.{name}" for name in di.__all__ if name[0].isupper()}
    for name in di.__all__:
        names[f"di.{name}"] = f"dyninfer.{name}"
    for room in ROOMS:
        for name in getattr(di, room).__all__:
            names[f"di.{room}.{name}"] = f"dyninfer.{room}.{name}"
    return names


NAMES = public_names()
# Inside these a piece of code is a link already, or must not be one.
HOLDERS = (nodes.title, nodes.reference, addnodes.pending_xref)


def page_of(text):
    """Full name of what a piece of code names or calls; None where it is no name of ours."""
    match = NAME.fullmatch(text)
    if match is None:
        return None
    name = match[1]
    if text.startswith(("di.", "dyninfer.")):
        name = f"di.{name}"
    return NAMES.get(name)


class Links(SphinxTransform):
    """Make a reference of every piece of inline code that is a public name."""

    default_priority = 400  # before references are resolved

    def apply(self):
        for literal in list(self.document.findall(nodes.literal)):
            target = page_of(literal.astext())
            if target is None or isinstance(literal.parent, HOLDERS):
                continue
            reference = addnodes.pending_xref(
                "", refdomain="py", reftype="obj", reftarget=target, refexplicit=True
            )
            literal.replace_self(reference)
            reference += literal


# What a role of a docstring may mean; the words of "list of labels" are roles of classes too.
KINDS = {"class": {"class", "exception"}, "func": {"function"}, "meth": {"method"}}


def resolve_by_last_part(app, env, node, contnode):
    """Find the page of a name that a docstring gives without its module.

    Docstrings name their neighbours; pages list everything by the name that users write.
    """
    if node.get("refdomain") != "py":
        return None
    ending = "." + node["reftarget"].removeprefix("dyninfer.")
    objects = env.get_domain("py").objects
    names = [name for name in objects if name.endswith(ending)]
    kinds = KINDS.get(node.get("reftype"))
    if kinds:
        names = [name for name in names if objects[name].objtype in kinds]
    if not names:
        return None
    room = node.get("py:module") or ""
    # Two rooms may share a name, such as the table and the picture of a prevalence.
    name = min(names, key=lambda name: (not name.startswith(room), len(name)))
    place = objects[name]
    uri = app.builder.get_relative_uri(node["refdoc"], place.docname)
    return nodes.reference("", "", contnode, internal=True, refuri=f"{uri}#{place.node_id}")


def setup(app):
    app.add_transform(Links)
    app.connect("missing-reference", resolve_by_last_part)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
