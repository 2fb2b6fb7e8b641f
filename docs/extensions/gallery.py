"""Pictures of the gallery: drawn by the code that its page shows, and put beside it."""

import re
from contextlib import chdir
from pathlib import Path

DOCS = Path(__file__).parents[1]
PAGE = DOCS / "gallery.md"
PICTURES = DOCS / "_static" / "gallery"
BLOCK = re.compile(r"^```python\n(.*?)^```\n", flags=re.DOTALL | re.MULTILINE)
DRAWN = re.compile(r"\bdi\.pl\.(\w+)\(")
# A film is written by its own line of code.
FILMS = {"animation": "gif"}


def picture_of(code):
    """File name of the picture that a block of code draws; None where it draws none."""
    match = DRAWN.search(code)
    if match is None:
        return None
    return f"{match[1]}.{FILMS.get(match[1], 'png')}"


def draw(folder=PICTURES):
    """Run the code of the page, block after block, and keep its pictures."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    codes = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    names = {"__name__": "gallery"}
    # The page writes its film beside the pictures.
    with chdir(folder):
        for code in codes:
            exec(code, names)
            picture = picture_of(code)
            if picture and picture.endswith("png"):
                plt.gcf().savefig(picture, dpi=90, bbox_inches="tight")
            plt.close("all")


def pictures():
    """File names of all pictures of the page."""
    codes = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    return {picture_of(code) for code in codes} - {None}


def is_old(folder=PICTURES):
    """Whether the page has changed since its pictures were drawn."""
    files = [folder / picture for picture in pictures()]
    if not all(file.exists() for file in files):
        return True
    return min(file.stat().st_mtime for file in files) < PAGE.stat().st_mtime


def with_picture(part, folder):
    """A part of the page with its picture after its code, and the small one that leads there."""
    match = BLOCK.search(part)
    picture = match and picture_of(match[1])
    if not picture or not part.startswith("### "):
        return part, ""
    label = f"gallery-{picture.split('.')[0]}"
    labelled = f"({label})=\n{part}"
    if not (folder / picture).exists():
        return labelled, ""
    heading = part.split("\n")[0].removeprefix("### ")
    image = f"\n```{{image}} _static/gallery/{picture}\n:alt: {heading}\n```\n"
    link = (
        f'<a href="#{label}"><img src="_static/gallery/{picture}" alt=""><span>{heading}</span></a>'
    )
    return f"{labelled.rstrip()}\n{image}\n", link


def with_pictures(text, folder=PICTURES):
    """The page with its pictures, and a table of small ones at the top."""
    parts, links = [], []
    for part in re.split(r"(?m)^(?=##)", text):
        shown, link = with_picture(part, folder)
        parts.append(shown)
        links.append(link)
    table = "\n".join(filter(None, links))
    if table:
        parts[0] += f'```{{raw}} html\n<div class="gallery">\n{table}\n</div>\n```\n\n'
    return "".join(parts)


def show(app, name, source):
    if name == "gallery":
        source[0] = with_pictures(source[0])


def prepare(app):
    # Only where tutorials are executed as well: drawing takes minutes.
    if app.config.nb_execution_mode != "off" and is_old():
        draw()


def setup(app):
    app.connect("builder-inited", prepare)
    app.connect("source-read", show)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
