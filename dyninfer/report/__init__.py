"""One page on a fitted model: what it learned, how good it is, and with what it was made.

Here belong the page (a template, and the plain data given to it), its pictures, and the verdict in
words, from three sentences on the whole model to a paragraph on every held-out time. The distances
themselves are in ``metrics``; how a single picture is drawn is in ``plotting``; the demonstration
that writes such a page is in ``cli``.
"""

from __future__ import annotations

from dyninfer.report.belief import belief
from dyninfer.report.page import write_report
from dyninfer.report.pictures import pictures
from dyninfer.report.scene import Scene
from dyninfer.report.verdict import verdict
from dyninfer.report.versions import versions

__all__ = ["Scene", "belief", "pictures", "verdict", "versions", "write_report"]
