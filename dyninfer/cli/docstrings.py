"""Help texts from NumPy docstrings: what Python says of an argument, the shell says too."""

from __future__ import annotations

import inspect
import re
from typing import Any

from docstring_parser import DocstringStyle, parse


def parameter_texts(documented: Any) -> dict[str, str]:
    """Text of every entry under "Parameters", on one line; a class inherits those of its bases."""
    sources = [documented]
    if inspect.isclass(documented):
        sources = list(reversed(documented.__mro__))
    texts = {}
    for source in sources:
        # Its own docstring: an inherited one has been read with the base.
        own = vars(source).get("__doc__") if inspect.isclass(source) else source.__doc__
        for entry in parse(own or "", DocstringStyle.NUMPYDOC).params:
            if entry.args[0] != "param":  # attributes are among the parser's parameters
                continue
            text = _plain(entry.description or "")
            for name in entry.arg_name.split(","):
                texts[name.strip(" *")] = text
    return texts


def _plain(text: str) -> str:
    """Take roles, backticks and line breaks away."""
    # Roles first: what is left in backticks is code.
    text = re.sub(r":\w+:`~?\.?([^`]*)`", r"\1", text)
    text = re.sub(r"`{1,2}([^`]*)`{1,2}", r"\1", text)
    return " ".join(text.split())
