"""A report on a fitted model: one self-contained HTML file that says what was learned and how good it is."""

from __future__ import annotations

from dyninfer.report.page import versions, write_report
from dyninfer.report.pictures import pictures
from dyninfer.report.verdict import add_interpolation, verdict

__all__ = ["add_interpolation", "pictures", "verdict", "versions", "write_report"]
