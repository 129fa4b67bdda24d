"""Facts of a store, as `advkd cache show` and the page print them, in a hundred columns."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from rich.table import Table

from advkd.text.replaced import replaced_text
from advkd.text.terminal import columns, facts
from advkd.text.units import age_text, duration_text, size_text
from storage import (
    Growth,
    Manifest,
    StateStatistics,
    StoreSummary,
    TrajectorySpec,
    digest,
    measure_growth,
)

_VALUE_WIDTH = 82
_LISTED = 12


def summary_json(summary: StoreSummary) -> dict[str, Any]:
    """Returns the facts of any store as JSON."""
    return {
        "uri": summary.uri,
        "state": summary.state,
        "digest": digest(summary.spec) if summary.spec else None,
        "spec": summary.spec.to_json() if summary.spec else None,
        "num_samples": summary.num_samples,
        "num_shards": summary.num_shards,
        "bytes": summary.total_bytes,
        "problem": summary.problem,
    }


def manifest_json(manifest: Manifest, extension: int) -> dict[str, Any]:
    """Returns the further facts of a sealed store as JSON."""
    return {
        "statistics": {
            str(t): values.to_json() | {"error_bound": error_bound(manifest.spec, t, values)}
            for t, values in manifest.statistics.items()
        },
        "elapsed_seconds": manifest.elapsed_seconds,
        "author": manifest.author,
        "writer": manifest.writer,
        "revisions": list(manifest.revisions),
        "created": manifest.created,
        "sealed": manifest.sealed,
        "index_pages": len(manifest.shards.pages),
        "shards_of_extension": extension,
    }


def growth_json(growth: Growth) -> dict[str, Any]:
    """Returns the further facts of a growing store as JSON."""
    return {"bytes": growth.total_bytes} | {
        name: None if value is None else datetime.fromtimestamp(value).astimezone().isoformat(timespec="seconds")
        for name, value in asdict(growth).items()
        if name.endswith("_commit")
    }


def facts_table(
    summary: StoreSummary, spec: TrajectorySpec, manifest: Manifest | None, extension: int, growth: Growth | None
) -> Table:
    """Builds the table of all facts that fit on one line."""
    return facts(facts_rows(summary, spec, manifest, extension, growth))


def facts_rows(
    summary: StoreSummary, spec: TrajectorySpec, manifest: Manifest | None, extension: int, growth: Growth | None
) -> dict[str, str]:
    """Returns the rows of `facts_table` by name."""
    kind = "ODE (deterministic)" if spec.deterministic else "SDE (stochastic)"
    guidance = "none" if spec.guidance_scale is None else f"{spec.guidance_scale:g}"
    conditioning = "none" if spec.conditioning is None else _json_text(_short(spec.conditioning))
    noise = "stored" if spec.noise == "stored" else "not stored; readers draw it from the seed"
    rows = {
        "state": summary.state,
        "digest": digest(spec),
        "teacher": spec.teacher,
        "fingerprint": spec.fingerprint,
        "sampler": f"{spec.sampler}, {spec.solver_steps} steps, {kind}",
        **({"solver": replaced} if (replaced := replaced_text(spec.sampler_config)) else {}),
        "sampler config": _json_text(spec.sampler_config),
        "guidance": guidance,
        "conditioning": conditioning,
        "base seed": f"{spec.base_seed}, noise {noise}",
        "states": f"{len(spec.timesteps)} of {list(spec.sample_shape)} (C, H, W), read as {spec.dtype}",
        "layout": f"{spec.layout}, {spec.shard_samples} samples per shard, {spec.block_samples} per block",
    }
    if manifest is not None:
        rows |= _sealed_rows(manifest, extension)
    elif growth is not None:
        rows |= _growing_rows(summary, growth)
    return rows


def grid_table(spec: TrajectorySpec) -> Table:
    """Builds the table of the time grid and the encoding of each state."""
    table = columns("timestep", "stored as", "a_t", "s_t", "H x W", "bytes/sample", left=2)
    for row in grid_rows(spec):
        table.add_row(*row)
    return table


def grid_rows(spec: TrajectorySpec) -> list[tuple[str, ...]]:
    """Returns the rows of `grid_table`."""
    rows: list[tuple[str, ...]] = []
    for t, signal, sigma in zip(spec.timesteps, spec.signal, spec.sigma, strict=True):
        encoding, stored = spec.encoding(t), t in spec.stored_timesteps
        _, height, width = encoding.shape
        size = f"{encoding.state_bytes:,}" if stored else "0"
        rows.append((str(t), _stored_text(spec, t), f"{signal:.6f}", f"{sigma:.6f}", f"{height} x {width}", size))
    return rows


def statistics_table(manifest: Manifest) -> Table:
    """Builds the table of the values that readers get per timestep, and of the encoding's error beside its bound."""
    table = columns("timestep", "mean", "std", "min", "max", "max error", "bound", "rms error", "rms detail")
    for row in statistics_rows(manifest):
        table.add_row(*row)
    return table


def statistics_rows(manifest: Manifest) -> list[tuple[str, ...]]:
    """Returns the rows of `statistics_table`."""
    rows: list[tuple[str, ...]] = []
    for t, statistics in manifest.statistics.items():
        values = [
            f"{value:.4f}" if abs(value) < 1e6 else f"{value:.3e}"
            for value in (statistics.mean, statistics.std, statistics.min, statistics.max)
        ]
        errors = (
            statistics.max_error,
            error_bound(manifest.spec, t, statistics),
            statistics.rms_error,
            statistics.rms_detail,
        )
        rows.append((str(t), *values, *(f"{error:.2e}" if error else "0" for error in errors)))
    return rows


def error_bound(spec: TrajectorySpec, timestep: int, statistics: StateStatistics) -> float:
    """Returns the largest error that the encoding may have added to a value of this timestep."""
    return spec.encoding(timestep).error_bound(max(abs(statistics.min), abs(statistics.max)))


def size_and_time(store: StoreSummary) -> tuple[int | None, float | None]:
    """Returns bytes of a store's data, and when it last grew or was sealed (seconds since the epoch); None: unknown.

    Raises:
        StoreError: the records cannot be read now.
    """
    if store.spec is None:
        return None, None
    if store.state == "sealed":
        return store.total_bytes, _seconds(store.sealed)
    growth = measure_growth(store.uri, store.spec)
    return growth.total_bytes, growth.latest_commit


def _seconds(time: str) -> float | None:
    """Returns a record's time in seconds since the epoch; None if it does not parse."""
    try:
        return datetime.fromisoformat(time).timestamp()
    except ValueError:
        return None


def _sealed_rows(manifest: Manifest, extension: int) -> dict[str, str]:
    spec, hidden = manifest.spec, manifest.num_shards * manifest.spec.shard_samples - manifest.num_samples
    computed = manifest.num_samples + hidden
    seconds = manifest.elapsed_seconds
    more = f"; {extension} more committed, not sealed yet" if extension else ""
    objects = manifest.num_shards * len(manifest.shards.templates)
    return {
        "samples": f"{manifest.num_samples:,}"
        + (f", and {hidden:,} hidden ones fill the last shard" if hidden else ""),
        "shards": f"{manifest.num_shards:,}, index of {len(manifest.shards.pages):,} page(s)" + more,
        "bytes": f"{manifest.total_bytes:,} ({size_text(manifest.total_bytes)}) in {objects:,} data objects, "
        f"{spec.trajectory_bytes:,} of states per sample",
        "computed in": f"{duration_text(seconds)}, summed over shards"
        + (f": {computed / seconds:,.1f} samples per second" if seconds else ""),
        "created": manifest.created,
        "last sealed": f"{manifest.sealed}, {age_text(_seconds(manifest.sealed))} ago",
        "author": manifest.author or "not named",
        "writer": f"{manifest.writer}, code {', '.join(manifest.revisions)}",
    }


def _growing_rows(summary: StoreSummary, growth: Growth) -> dict[str, str]:
    rows = {
        "samples": f"{summary.num_samples:,} committed so far, of how many is not written before the store is sealed",
        "shards": f"{growth.num_shards:,} committed so far",
        "bytes": f"{growth.total_bytes:,} ({size_text(growth.total_bytes)}) in committed shards",
    }
    if growth.num_shards:
        first, latest = age_text(growth.first_commit), age_text(growth.latest_commit)
        rows["commits"] = f"the first {first} ago, the latest {latest} ago"
    return rows


def _stored_text(spec: TrajectorySpec, timestep: int) -> str:
    if timestep not in spec.stored_timesteps:
        return "not stored, drawn from the seed"
    encoding = spec.encoding(timestep)
    if encoding.uint8_range is None:
        return encoding.stored_dtype
    low, high = encoding.uint8_range
    return f"uint8 of [{low:g}, {high:g}]"


def _short(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The same with long lists, such as a thousand names of classes, cut."""
    lists = {name: value for name, value in facts.items() if isinstance(value, list | tuple) and len(value) > _LISTED}
    cut = {name: [*value[:_LISTED], f"... {len(value) - _LISTED} more"] for name, value in lists.items()}
    return {**facts, **cut}


def _json_text(value: object) -> str:
    return "\n".join(_wrapped(json.dumps(value, sort_keys=True)))


def _wrapped(text: str) -> Iterator[str]:
    yield from textwrap.wrap(text, _VALUE_WIDTH, break_long_words=False, break_on_hyphens=False) or [text]
