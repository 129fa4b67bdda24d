"""Facts of a store, as `advkd cache show` prints them, and a drawing of its statistics along the grid."""

from dataclasses import dataclass

from advkd.browse.store_view import StoreSnapshot
from advkd.text import facts_rows, grid_rows, statistics_rows
from storage import StateStatistics, StoreSummary, measure_growth
from storage.records import committed_shards

_WIDTH, _HEIGHT = 560.0, 180.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 22.0, 10.0, 26.0
_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class AxisLabel:
    """A label at a place in a drawing."""

    at: float
    label: str


@dataclass(frozen=True)
class Drawing:
    """Mean, one standard deviation and extremes along the grid, as SVG paths."""

    width: float
    height: float
    mean: str
    deviation: str
    extremes: str
    across: tuple[AxisLabel, ...]
    down: tuple[AxisLabel, ...]
    left: float
    right: float
    baseline: float


@dataclass(frozen=True)
class Facts:
    """Rows of the page's tables, and the drawing."""

    rows: dict[str, str]
    grid: list[tuple[str, ...]]
    statistics: list[tuple[str, ...]]
    drawing: Drawing | None


def store_facts(view: StoreSnapshot) -> Facts:
    """Returns the facts of a store as it is now."""
    manifest = view.manifest if view.sealed else None
    spec = view.spec
    summary = StoreSummary(
        uri=view.store.uri,
        state="sealed" if view.sealed else "growing",
        spec=spec,
        num_samples=view.num_samples,
        num_shards=view.manifest.num_shards,
        total_bytes=view.manifest.total_bytes,
    )
    extension = len(committed_shards(view.store.uri, after=manifest.num_shards - 1)) if manifest else 0
    growth = None if manifest else measure_growth(view.store.uri, spec)
    statistics = [] if manifest is None else statistics_rows(manifest)
    drawing = None if manifest is None else _drawing(list(manifest.statistics.items()))
    return Facts(facts_rows(summary, spec, manifest, extension, growth), grid_rows(spec), statistics, drawing)


def brief(value: float) -> str:
    """Returns a number in at most seven characters: 0.031, -65.8k, 1e+308."""
    size = abs(value)
    if size >= 1e15 or 0 < size < 5e-4:
        return f"{value:.0e}"
    scale, unit = next((pair for pair in _UNITS if size >= pair[0]), (1.0, ""))
    return f"{float(f'{value / scale:.3g}'):g}{unit}"


def _drawing(statistics: list[tuple[int, StateStatistics]]) -> Drawing:
    low = min(values.min for _, values in statistics)
    high = max(values.max for _, values in statistics)
    # In units of the largest value, since the distance of two floats may be none.
    unit = max(abs(low), abs(high)) or 1.0
    spread = (high / unit - low / unit) or 1.0
    last = max(1, len(statistics) - 1)

    def x(position: int) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * position / last, 1)

    def y(value: float) -> float:
        return round(_TOP + (_HEIGHT - _TOP - _BOTTOM) * (high / unit - value / unit) / spread, 1)

    def band(lower: list[float], upper: list[float]) -> str:
        there = [f"{x(k)} {y(value)}" for k, value in enumerate(upper)]
        back = [f"{x(k)} {y(value)}" for k, value in reversed(list(enumerate(lower)))]
        return "M" + " L".join([*there, *back]) + " Z"

    rows = [values for _, values in statistics]
    return Drawing(
        width=_WIDTH,
        height=_HEIGHT,
        mean="M" + " L".join(f"{x(k)} {y(values.mean)}" for k, values in enumerate(rows)),
        deviation=band([values.mean - values.std for values in rows], [values.mean + values.std for values in rows]),
        extremes=band([values.min for values in rows], [values.max for values in rows]),
        across=tuple(AxisLabel(x(k), str(t) if t else "clean") for k, (t, _) in enumerate(statistics)),
        down=tuple(AxisLabel(y(value), brief(value)) for value in (high, high / 2 + low / 2, low)),
        left=_LEFT,
        right=_WIDTH - _RIGHT,
        baseline=_HEIGHT - 8,
    )
