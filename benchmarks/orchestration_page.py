"""The page of `make bench-orchestration`, from the figures of its parts."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.measure import spread, table
from benchmarks.orchestration_plan import S3_REQUESTS_PER_SECOND, SHARD_SAMPLES, Constants, Point, points

Figures = dict[str, Any]
_FASTER = 100.0
_MARKS = (0, 200, 400, 600, 800, 1000)


def page(parts: dict[str, Figures]) -> str:
    """Markdown."""
    long = parts["shards"]["long"]
    overhead = [run["deployed"] - run["process"] for run in parts["distillation"]["runs"]]
    over_calls = [run["deployed"] - run["calls"] for run in parts["distillation"]["runs"]]
    worked = [run["deployed_worked"] - run["process_worked"] for run in parts["distillation"]["runs"]]
    per_shard, shares = _per_shard(parts["shards"]), _speed_ups(parts["workers"])
    flat = _grown(parts["shards"])
    s3 = parts["requests"]["claimed"]
    rows = [
        [
            "a tiny `distill/quick` through server and worker: overhead over the same plain calls in a new process",
            "20 s at most",
            f"{spread(overhead, '.1f')} s",
            _yes(median(overhead) <= 20),
        ],
        [
            "the same: overhead over plain calls in a process that has already imported everything",
            "12 s at most",
            f"{spread(over_calls, '.1f')} s",
            _yes(median(over_calls) <= 12),
        ],
        [
            "the same in CPU time, server and worker included",
            "-",
            f"{spread(worked, '.1f')} s",
            "-",
        ],
        [
            "a mapped shard task: overhead per shard over `advkd.trajectories.precompute`",
            "50 ms at most",
            f"{spread(per_shard, '.0f')} ms",
            _yes(median(per_shard) <= 50),
        ],
        [
            f"{parts['shards']['many']} mapped shard tasks on SQLite",
            "none fails",
            f"{long['failed']} failed, {long['tasks']} tasks recorded",
            _yes(not long["failed"]),
        ],
        [
            f"memory of the flow's process from shard 200 to {parts['shards']['many']}",
            "flat",
            f"{flat:+.1f} MB",
            _yes(flat < 20),
        ],
        [
            "two precompute workers against one, one thread each, by wall time",
            "1.7x or more",
            f"{spread(shares['wall'])}x",
            _yes(median(shares["wall"]) >= 1.7),
        ],
        [
            "the same by CPU time",
            "-",
            f"{spread(shares['work'])}x",
            "-",
        ],
        [
            "S3 requests per shard, and per shard for sealing",
            "to be known",
            f"{s3['per_shard']:.0f} and {s3['per_shard_sealed']:.0f}",
            "-",
        ],
    ]
    sections = [
        "# What orchestration costs\n\n"
        "`make bench-orchestration`, on two shared x86-64 cores. The load average after each part was "
        f"{_loads(parts)}, this measurement included; "
        "where it is above 2, the cores were overloaded and wall times are too long. "
        f"There are {len(parts['shards']['runs'])} repeats ({len(parts['distillation']['runs'])} of the distillation) "
        "in which the cases take turns. Figures are medians, with the lowest and the highest in brackets. The server "
        "(SQLite), the worker and the S3 server are real.\n\n"
        + table(["what", "to reach", "measured", "reached"], rows),
        _distillation(parts["distillation"]["runs"]),
        _shards(parts["shards"]),
        _databases(parts["databases"]),
        _workers(parts["workers"], shares),
        _requests(parts["requests"]),
        "## Planning\n[docs/scale.md](../scale.md#planning-table) computes from these constants how long many workers "
        "take.",
    ]
    return "\n\n".join(sections)


def _loads(parts: dict[str, Figures]) -> str:
    return ", ".join(f"{part['load']:.0f} ({name})" for name, part in parts.items())


def _per_shard(found: Figures, over: str = "shards_by_calls") -> list[float]:
    return [1000 * (run["shards_by_flow"] - run[over]) / found["shards"] for run in found["runs"]]


def _speed_ups(found: Figures) -> dict[str, list[float]]:
    pairs = list(zip(found["runs"][::2], found["runs"][1::2], strict=True))
    return {
        "wall": [one["seconds"] / two["seconds"] for one, two in pairs],
        "work": [2 * one["worked"] / two["worked"] for one, two in pairs],
    }


def _at(found: Figures, shards: int) -> float:
    """MB that were resident when so many shards were committed."""
    return next((size for done, size in found["long"]["memory"] if done >= shards), found["long"]["memory"][-1][1])


def _grown(found: Figures) -> float:
    return _at(found, found["many"]) - _at(found, min(200, found["many"] // 5))


def _distillation(runs: Sequence[Figures]) -> str:
    steps = {
        "plain calls in a running process": "calls",
        "of that: the export": "exporting",
        "the same, starting the process and its imports included": "process",
        "the same in CPU time": "process_worked",
        "through the deployment, from the request to the end": "deployed",
        "the same in CPU time, server and worker included": "deployed_worked",
        "of that wall time: until a worker takes the run": "taken",
        "of that wall time: starting the process, loading the flow": "started",
        "of that wall time: the flow itself": "ran",
    }
    rows = [[what, spread([run[name] for run in runs], ".1f")] for what, name in steps.items()]
    compared = {
        "from `Pending` to `Running`, seconds": "started",
        "the stage `train`, seconds": "training",
        "the flow itself, seconds": "ran",
        "from the request to the end, seconds": "deployed",
        "CPU time, server and worker included, seconds": "deployed_worked",
    }
    forked = [
        [what, *(spread([run[name] for run in kind], ".1f") for kind in ([run["new"] for run in runs], runs))]
        for what, name in compared.items()
    ]
    return (
        "## A distillation\n"
        "256 trajectories of the closed-form teacher, training on 512 samples, evaluation on 64 images: nearly all of "
        "the time is overhead. Plain calls train in the same process, which has imported everything before they begin; "
        "the flow and its training are forked from a process that has (`python -m flows.worker`, as under `make "
        "serve`). Both export.\n\n"
        + table(["", "seconds"], rows)
        + "\n\nThe same deployment with a variable that leaves its start to Prefect, as every run of `prefect worker "
        "start`, in turns with the above:\n\n" + table(["", "new interpreters", "forked"], forked)
    )


def _shards(found: Figures) -> str:
    number, long = found["shards"], found["long"]
    claims = [1000 * (run["shards_by_claims"] - run["shards_by_calls"]) / number for run in found["runs"]]
    prefect = _per_shard(found, "shards_by_claims")
    rows = [[str(mark), f"{_at(found, mark):.0f}"] for mark in _MARKS if mark <= found["many"]]
    before, after = long["server"]
    return (
        "## Mapped tasks\n"
        f"{number} shards of two trajectories of two steps, so that next to nothing is computed. Of the overhead per "
        f"shard, {spread(claims, '.0f')} ms are for its claim, which keeps two runs of one spec apart, and "
        f"{spread(prefect, '.0f')} ms are Prefect's.\n\n"
        f"{found['many']} shards took {long['seconds']:.0f} s, {found['many'] / long['seconds']:.0f} tasks per second; "
        f"the server had recorded all {long['tasks']} tasks after {long['recorded']:.0f} s, and its memory went from "
        f"{before:.0f} to {after:.0f} MB. Resident memory of the flow's process, by shards committed so far:\n\n"
        + table(["shards", "MB resident"], rows)
    )


def _databases(found: Figures) -> str:
    rows = [
        [
            name,
            f"{found['many'] / each['recorded']:.1f}",
            f"{each['wanted'] - each['tasks']} of {each['wanted']}",
            f"{each['wanted'] - each['events']}",
            str(each["locked"]),
            f"{each['server_worked']:.0f}",
        ]
        for name, each in found["found"].items()
    ]
    header = [
        "database",
        "tasks/s",
        "tasks not recorded",
        "events lost",
        "`database is locked`",
        "CPU seconds",
    ]
    return (
        "## SQLite and PostgreSQL\n"
        f"Two flow runs at once map {found['many'] // 2} shards each, as above, on a server with each database. Tasks "
        "per second count until the server has recorded all. A task's end is an event and a state; lost is what the "
        "server does not have two minutes later. CPU seconds are the server's.\n\n" + table(header, rows)
    )


def _workers(found: Figures, shares: dict[str, list[float]]) -> str:
    one = [run["worked"] / found["trajectories"] for run in found["runs"] if run["workers"] == 1]
    return (
        "## Two workers\n"
        f"{found['shards']} shards of 16 trajectories, digits teacher, 20 steps. A worker is a process with one "
        "thread that walks through all shards and takes those that nobody has claimed, as the tasks of two flow runs "
        f"do. Every shard was computed once. Two workers are {spread(shares['wall'])}x as fast as one by wall time, "
        f"and {spread(shares['work'])}x by the CPU time that the work took. "
        f"A trajectory takes {1000 * median(one):.0f} ms of CPU time."
    )


def _requests(found: Figures) -> str:
    rows = [
        [
            name,
            *(str(one["written"]) for one in each["counts"]),
            f"{each['per_shard']:.0f}",
            *(str(one["sealed"]) for one in each["counts"]),
            f"{each['per_shard_sealed']:.0f}",
        ]
        for name, each in (("without claims", found["plain"]), ("with claims, as in flows", found["claimed"]))
    ]
    few, more = (str(one["shards"]) for one in found["plain"]["counts"])
    header = ["writing", f"{few} shards", f"{more} shards", "per shard"]
    header += [f"sealing {few}", f"sealing {more}", "per shard"]
    return (
        "## Requests\n"
        "Counted by a proxy in front of `rclone serve s3`, for a Zarr store of the noise and two states. Each stored "
        "timestep is an object, so each further timestep takes one PUT more. rclone has no conditional PUT, so a claim "
        "there is checked before and after it is written.\n\n" + table(header, rows)
    )


def _constants(parts: dict[str, Figures]) -> Constants:
    found, s3 = parts["shards"], parts["requests"]["claimed"]
    one = [run["worked"] / parts["workers"]["trajectories"] for run in parts["workers"]["runs"] if run["workers"] == 1]
    seconds = median(run["shards_by_flow"] for run in found["runs"])
    return Constants(
        compute_seconds=median(one),
        tasks_per_second=found["shards"] / seconds,
        requests_per_shard=s3["per_shard"] + s3["per_shard_sealed"],
        sealing_seconds=found["long"]["sealing"] / found["many"],
    )


def planning(parts: dict[str, Figures]) -> str:
    """What the constants say of many workers, in Markdown, for `docs/scale.md`."""
    constants = _constants(parts)
    task_megabytes = _grown(parts["shards"]) / (0.8 * parts["shards"]["many"])
    memory = math.ceil(10**8 / SHARD_SAMPLES) * max(0.0, task_megabytes)
    return (
        f"Computed, not run, from the constants that `make bench-orchestration` measured: {SHARD_SAMPLES} trajectories "
        f"per shard, {1000 * constants.compute_seconds:.0f} ms of one core per trajectory, "
        f"{constants.tasks_per_second:.0f} tasks per second (flow and server shared two cores, so this is a lower "
        f"bound), {constants.requests_per_shard:.0f} requests per shard at {S3_REQUESTS_PER_SECOND:.0f} per second "
        f"(Amazon's figure per prefix, not measured), {1000 * constants.sealing_seconds:.2f} ms per shard to seal, "
        "from a local disk. Each shard is one task. Several flow runs of one spec each map all shards that were "
        "missing when they began, so W runs make up to W times as many tasks; one run whose tasks Ray distributes "
        "makes one per shard.\n\n"
        f"{_plan_table(points(constants))}\n\n"
        f"The same with workers {_FASTER:.0f} times as fast as this core, as a GPU may be:\n\n"
        f"{_plan_table(points(constants, _FASTER))}\n\n"
        f"A single flow run of 10^8 trajectories maps {math.ceil(10**8 / SHARD_SAMPLES)} tasks at once, about "
        f"{memory:.0f} MB in its process by the growth that was measured; nobody has run that."
    )


def _plan_table(found: Sequence[Point]) -> str:
    rows = [
        [
            str(one.workers),
            f"10^{round(math.log10(one.trajectories))}",
            _time(one.total),
            one.bottleneck,
            ", ".join(f"{name} {_time(seconds)}" for name, seconds in one.seconds),
            one.remedy,
        ]
        for one in found
    ]
    return table(["workers", "trajectories", "total", "bottleneck", "each part alone", "remedy"], rows)


def _time(seconds: float) -> str:
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def _yes(reached: bool) -> str:
    return "yes" if reached else "**no**"
