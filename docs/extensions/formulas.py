"""Formulas as MathML, which browsers draw by themselves: a page fetches nothing when it opens.

Docutils translates LaTeX. What it reads otherwise than LaTeX does is spelled out for it first.
"""

import re
from itertools import cycle
from xml.etree import ElementTree

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

NAMESPACE = ' xmlns="http://www.w3.org/1998/Math/MathML"'  # a page of HTML has no need of it
FRACTION = re.compile(r"(\\[tdc]?frac)(\d)\s*(\d|\\[A-Za-z]+|[A-Za-z])?")
DELIMITER = re.compile(r"\\([bB]igg?)(?![A-Za-z])\s*(\\?.)")
SIDES = {"(": "l", "[": "l", r"\{": "l"}
BARS = ("|", r"\|")
FUNCTION = re.compile(
    r"(\\(?:log|exp|sin|cos|tan|tanh|cosh|arg|det|mathrm\{KL\}))(?![A-Za-z])\s*(?=[A-Za-z\d\\])"
    r"(?!\\(?:[bB]ig|left|mid|[lr]vert|quad|min|max|[^A-Za-z]))"
)
# Signs that LaTeX sets without space around them, and in one size; browsers do neither.
PLAIN = {"|", "‖", "/", "⟨", "⟩"}
ACCENTS = set("ˆˉ˙¨˜¯~→‾")
CHARACTERS = {"½": r"\tfrac{1}{2}", "−": "-", r"\dots": r"\ldots"}


def spelled_fraction(match):
    # Docutils would take both digits of \frac14 for the numerator.
    name, above, below = match.groups()
    return f"{name}{{{above}}}" + (f"{{{below}}}" if below else "")


def sided_delimiters(source):
    bar_sides = cycle("lr")  # of two bars the first opens, and the second closes

    def sided(match):
        size, sign = match.groups()
        side = next(bar_sides) if sign in BARS else SIDES.get(sign, "r")
        return rf"\{size}{side}{sign}"

    return DELIMITER.sub(sided, source)


def spelled(source):
    """The formula in the part of LaTeX that docutils reads as LaTeX does."""
    for sign, command in CHARACTERS.items():
        source = source.replace(sign, command)
    source = FRACTION.sub(spelled_fraction, source)
    source = sided_delimiters(source)
    source = FUNCTION.sub(r"\1\,", source)
    # An exponent of a word beside the formula has nothing to stand on.
    return "{}" + source if source.startswith(("^", "_")) else source


def put_index_beside(element):
    r"""An index of \hat x_1 stands beside the letter, not below the hat."""
    letter, index, accent = element
    if accent.text not in ACCENTS:
        return
    element.tag = "msub"
    element[:] = [ElementTree.Element("mover"), index]
    element[0].extend([letter, accent])


def mathml(source, as_block=False):
    """MathML of a formula in LaTeX."""
    markup = tex2mathml(spelled(source.strip()), as_block=as_block)
    # XML does not know this entity of HTML: the invisible sign after the name of a function.
    markup = markup.replace(NAMESPACE, "").replace("&ApplyFunction;", "\u2061")
    formula = ElementTree.fromstring(markup)
    for element in list(formula.iter()):
        if element.tag == "munderover":
            put_index_beside(element)
        if element.tag == "mo" and element.text in PLAIN and "minsize" not in element.attrib:
            element.attrib.update(lspace="0", rspace="0", stretchy="false")
    return ElementTree.tostring(formula, encoding="unicode")


def visit_inline(writer, node):
    writer.body.append(f'<span class="formula">{mathml(node.astext())}</span>')
    raise nodes.SkipNode


def visit_block(writer, node):
    # A wide formula scrolls inside its own box.
    writer.body.append(f'<div class="formula">{mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
