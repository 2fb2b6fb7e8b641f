"""Tutorials as notebooks."""

import jupytext


def read(text):
    """The notebook of a tutorial, which says its language also where nothing is executed."""
    notebook = jupytext.reads(text, fmt="py:percent")
    # A kernel would say this; without one, code is coloured all the same.
    notebook.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
    return notebook
