"""Services of a running process: progress, logs, ranks, masked secrets, an end with its parent. Imports no torch."""

from advkd.runtime.counters import StageCounters
from advkd.runtime.environment import let_idle_threads_sleep, spare_loopback
from advkd.runtime.factories import imported, is_factory, missing_members
from advkd.runtime.heaps import kept_heap, limit_heaps
from advkd.runtime.masking import masked
from advkd.runtime.messages import receive, send
from advkd.runtime.orphans import die_with_parent
from advkd.runtime.relay import parse_log_line, relay_logs
from advkd.runtime.reporting import FORM_VARIABLE, LOG_VARIABLE, Report, Tally, console, parse_line, progress
from advkd.runtime.torchrun import (
    SilencedError,
    alike_on_this_machine,
    local_count,
    local_rank,
    speaks,
    started_by_torchrun,
)

__all__ = [
    "FORM_VARIABLE",
    "LOG_VARIABLE",
    "Report",
    "SilencedError",
    "StageCounters",
    "Tally",
    "alike_on_this_machine",
    "console",
    "die_with_parent",
    "imported",
    "is_factory",
    "kept_heap",
    "let_idle_threads_sleep",
    "limit_heaps",
    "local_count",
    "local_rank",
    "masked",
    "missing_members",
    "parse_line",
    "parse_log_line",
    "progress",
    "receive",
    "relay_logs",
    "send",
    "spare_loopback",
    "speaks",
    "started_by_torchrun",
]
