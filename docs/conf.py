"""Configuration of the documentation: `make docs` builds it and executes the tutorials."""

import os
import re
import shutil
import sys
from pathlib import Path

import dyninfer

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

# myst-nb reads only what lies below docs/, so the tutorials are copied here (git ignores the copies).
shutil.rmtree(HERE / "tutorials", ignore_errors=True)
shutil.copytree(
    HERE.parent / "tutorials", HERE / "tutorials", ignore=shutil.ignore_patterns("__pycache__")
)

# Kernels of the tutorials inherit this: tqdm complains where a browser widget for its bar is not installed.
os.environ.setdefault("PYTHONWARNINGS", "ignore:IProgress not found")

project = "dyninfer"
author = "The dyninfer developers"
release = version = dyninfer.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "extensions.formulas",
    "extensions.gallery",
    "extensions.names",
    "extensions.reference",
    "extensions.words",
]
exclude_patterns = ["conf.py", "pictures.py", "scale_picture.py", "extensions", "_build", "_static"]
exclude_patterns += ["**/.jupyter_cache", "**/jupyter_execute"]

nb_custom_formats = {".py": "extensions.lessons.read"}
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / "_build" / ".jupyter_cache")
nb_execution_timeout = 900
nb_execution_raise_on_error = True
nb_merge_streams = True

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3

autosummary_generate = False  # extensions/reference.py writes the pages
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say types with their shapes
napoleon_google_docstring = False
napoleon_use_rtype = False
# As fields of the class: as objects of their own they would be there twice, beside what autodoc finds.
napoleon_use_ivar = True
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"dyninfer {release}"
html_static_path = ["_static"]
html_css_files = ["style.css"]
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def plain_references(app, what, name, obj, options, lines):
    """Turn ``[1]_`` into text: every docstring counts from one, and a page holds many docstrings."""
    for i, line in enumerate(lines):
        lines[i] = re.sub(r"^(\s*)\.\. (\[\d\])", r"\1| \2", re.sub(r"(\[\d\])_", r"\1", line))


def setup(app):
    app.connect("autodoc-process-docstring", plain_references, priority=400)  # before napoleon
