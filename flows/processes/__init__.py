"""Processes of flow runs: children, ranks, Ray workers, the private server, logs, events, interrupts."""

from flows.processes.child import ChildKilledError, run_module
from flows.processes.events import DISCOVERED, REFUSED, STARTED, tell_of_model, tell_of_teacher
from flows.processes.fan_out import FanOut, shard_runner, shards_per_gpu
from flows.processes.fork_server import FORK_SERVER_NAME, run_fork_server
from flows.processes.forking import become
from flows.processes.interrupts import interrupt_on_hangup
from flows.processes.logs import defaults, identify_lines, log_place
from flows.processes.milestones import BESIDE_A_BAR, Milestones
from flows.processes.process_tree import descendants, end, marked_processes
from flows.processes.ranks import ProcessCount
from flows.processes.reachability import answers, why_no_answer
from flows.processes.server import UI_ENVIRONMENT, own_server
from flows.processes.spare import set_aside
from flows.processes.stages import last_part, stage
from flows.processes.supervision import MAX_RUNS, crash_if_cut_off, own_this_process, supervise

__all__ = [
    "BESIDE_A_BAR",
    "DISCOVERED",
    "FORK_SERVER_NAME",
    "MAX_RUNS",
    "REFUSED",
    "STARTED",
    "UI_ENVIRONMENT",
    "ChildKilledError",
    "FanOut",
    "Milestones",
    "ProcessCount",
    "answers",
    "become",
    "crash_if_cut_off",
    "defaults",
    "descendants",
    "end",
    "identify_lines",
    "interrupt_on_hangup",
    "last_part",
    "log_place",
    "marked_processes",
    "own_server",
    "own_this_process",
    "run_fork_server",
    "run_module",
    "set_aside",
    "shard_runner",
    "shards_per_gpu",
    "stage",
    "supervise",
    "tell_of_model",
    "tell_of_teacher",
    "why_no_answer",
]
