"""Facts of a store, as `advkd cache show` prints them."""

from dataclasses import dataclass

from advkd.browse.store_view import StoreSnapshot
from advkd.text import facts_rows, grid_rows, statistics_rows
from storage import StoreSummary, measure_growth
from storage.records import committed_shards


@dataclass(frozen=True)
class Facts:
    """Rows of the page's tables; `spread` are timestep, mean, standard deviation, least and greatest value."""

    rows: dict[str, str]
    grid: list[tuple[str, ...]]
    statistics: list[tuple[str, ...]]
    spread: list[tuple[float, ...]]


def store_facts(view: StoreSnapshot) -> Facts:
    """Returns the facts of a store as it is now; statistics are known once it is sealed."""
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
    known = list(manifest.statistics.items()) if manifest else []
    return Facts(
        rows=facts_rows(summary, spec, manifest, extension, growth),
        grid=grid_rows(spec),
        statistics=statistics_rows(manifest) if manifest else [],
        spread=[(t, one.mean, one.std, one.min, one.max) for t, one in known],
    )
