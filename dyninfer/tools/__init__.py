"""Tools: what a scientist asks of data and models, answered by way of the common API.

Here belongs what calls `fit`, `simulate` and `evaluate` of any method to answer a question: which
method predicts best, with which settings, and whether to believe it. No tool asks which method it
was given. Distances are computed in ``metrics``, pictures are drawn in ``plotting``.
"""

from __future__ import annotations

from dyninfer.tools.compare import compare
from dyninfer.tools.growth_scores import score_growth
from dyninfer.tools.recommend import Recommendation, recommend
from dyninfer.tools.tune import Tuned, tune

__all__ = ["Recommendation", "Tuned", "compare", "recommend", "score_growth", "tune"]
