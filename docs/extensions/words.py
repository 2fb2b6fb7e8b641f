"""Words that users search for lead to the right page: the table of the glossary fills the index."""

import re
from pathlib import Path
from posixpath import normpath

from sphinx import addnodes
from sphinx.transforms import SphinxTransform

GLOSSARY = Path(__file__).parents[1] / "glossary.md"
HEADING = "## Find it by the word you know"
LINK = re.compile(r"\]\(([^)#]+)(?:#([^)]*))?\)")


def words_of_pages():
    """Words of every page, with the heading on it that they mean: ``{page: [(word, heading)]}``."""
    table = GLOSSARY.read_text(encoding="utf-8").split(HEADING)[1]
    pages = {}
    for row in re.findall(r"^\| (.+?) \| (.+?) \|$", table, flags=re.MULTILINE)[1:]:
        words, places = row
        # The first page of a row is the one that a search should find.
        place = LINK.search(places)
        page = normpath(place[1]).rsplit(".", 1)[0]
        for word in words.split(", "):
            entry = (word.strip("` "), place[2] or "")
            pages.setdefault(page, []).append(entry)
    return pages


PAGES = words_of_pages()


class Entries(SphinxTransform):
    """Put the words of the glossary into the index, at the page that they mean."""

    default_priority = 840  # headings have their names, and Sphinx has not yet collected the index

    def apply(self):
        entries = PAGES.get(self.env.docname, [])
        if not entries:
            return
        index = addnodes.index(inline=False)
        index["entries"] = [("single", word, heading, "main", None) for word, heading in entries]
        self.document.insert(0, index)


def setup(app):
    app.add_transform(Entries)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
