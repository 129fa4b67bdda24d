"""Rows of the list of stores on a page: teacher, sampler, grid, samples, size, age, state."""

from collections.abc import Sequence
from typing import Any

from advkd.browse.catalogue import Listed
from advkd.browse.sheets import first_samples
from advkd.browse.shown import largest_tile
from advkd.text import age_text, size_text

PREVIEW = 8
_GRID = 8


def store_rows(stores: Sequence[Listed]) -> list[dict[str, Any]]:
    """Returns one dictionary per store."""
    return [_row(listed) for listed in stores]


def _row(listed: Listed) -> dict[str, Any]:
    summary, spec = listed.summary, listed.summary.spec
    if spec is None or listed.name is None:
        return {
            "name": None,
            "uri": summary.uri,
            "state": summary.state,
            "problem": summary.problem or "cannot be read",
        }
    preview = first_samples(summary.num_samples, PREVIEW, largest_tile(spec))
    return {
        "name": listed.name,
        "uri": summary.uri,
        "state": summary.state,
        "teacher": spec.teacher,
        "sampler": f"{spec.sampler}, {spec.solver_steps} steps",
        "grid": list(spec.timesteps) if len(spec.timesteps) <= _GRID else [spec.timesteps[0], "…", spec.timesteps[-1]],
        "shape": " x ".join(map(str, spec.sample_shape)),
        "layout": spec.layout,
        "samples": summary.num_samples,
        "shards": summary.num_shards,
        "bytes": listed.size or 0,
        "size": "-" if listed.size is None else size_text(listed.size),
        "written": listed.written or 0,
        "age": age_text(listed.written),
        "preview": f"0-{preview - 1}" if preview else "",
        "columns": preview,
        "clean": spec.timesteps[-1],
        "noise": spec.timesteps[0],
    }
