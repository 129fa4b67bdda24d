"""The results of a distillation: summary, counters, artifacts."""

from flows.results.artifacts import publish
from flows.results.counting import count
from flows.results.summary import DistillResult, Stopwatch, show, summarize

__all__ = [
    "DistillResult",
    "Stopwatch",
    "count",
    "publish",
    "show",
    "summarize",
]
