"""From one layout to another, bit for bit: the numbers that a store holds, laid out as the other layout would.

The result is the store that precompute would have made in that layout, statistics and run facts of its shards kept, and
the way back gives the objects that there were. Shard by shard, so a conversion that was interrupted goes on.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace

from storage.errors import ManifestError, StoreNotFoundError
from storage.layouts import Reader, Writer
from storage.objects import join
from storage.reading import open_store
from storage.records import TrajectorySpec, digest, read_commit, store_uri
from storage.writing import missing_shards, open_writer, seal

THREADS = 4
"""Shards in work at once, each held twice: as arrays, and as the objects that they become."""


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What `convert` made."""

    uri: str
    """The new store, sealed."""
    digest: str
    num_samples: int
    shards: int
    copied: int
    """Shards that were not there already."""
    seconds: float


def convert(
    uri: str,
    layout: str,
    root: str | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
    threads: int = THREADS,
) -> Conversion:
    """Make the store that holds the same trajectories in another layout, and seal it; the old one is left alone.

    Args:
        uri: A sealed store.
        layout: Name of another layout (`storage.layouts.LAYOUTS`).
        root: Where the new store goes, `<root>/<teacher>/<digest>`; None: where the old one lies.
        progress: Called with shards done and shards in all, from any thread.
        threads: Shards in work at once.

    Raises:
        ValueError: The store has that layout already, there is no such layout, or it was moved and no root is given.
        ShardCorruptError: An object of the old store is not what was committed; shards copied so far stay.
        ManifestError: The same of one of its records.
    """
    began = time.monotonic()
    reader = open_store(uri)
    manifest, spec = reader.manifest, reader.manifest.spec
    if layout == spec.layout:
        raise ValueError(f"a store is converted to another layout, but {uri} is {layout} already; name the other one")
    target = replace(spec, layout=layout)
    root = _root(reader) if root is None else root
    missing = missing_shards(root, target, manifest.num_samples)
    writer, done = open_writer(root, target), manifest.num_shards - len(missing)
    with ThreadPoolExecutor(threads, "convert") as pool:
        try:
            for copied in as_completed([pool.submit(_copy, reader, writer, shard) for shard in missing]):
                copied.result()
                done += 1
                if progress is not None:
                    progress(done, manifest.num_shards)
        finally:
            pool.shutdown(cancel_futures=True)
    sealed = seal(root, target, manifest.num_samples)
    return Conversion(
        uri=store_uri(root, target),
        digest=digest(target),
        num_samples=sealed.num_samples,
        shards=sealed.num_shards,
        copied=len(missing),
        seconds=time.monotonic() - began,
    )


def _root(reader: Reader) -> str:
    """The root that a store lies below."""
    uri, place = join(reader.uri), _place(reader.manifest.spec)
    if uri == place:
        return "."
    root = uri.removesuffix(f"/{place}")
    if root == uri or root.endswith(":/"):
        raise ValueError(
            f"a store lies at <root>/<teacher>/<digest>, here {place}, but {uri} does not; say with --root where the "
            "new one is to go"
        )
    return root or "/"


def _place(spec: TrajectorySpec) -> str:
    return store_uri("/", spec).removeprefix("/")


def _copy(reader: Reader, writer: Writer, shard: int) -> None:
    manifest, uri = reader.manifest, reader.uri
    remedy = f"run `advkd cache repair {uri}` first"
    try:
        record = read_commit(uri, shard)
    except (ManifestError, StoreNotFoundError) as error:
        raise ManifestError(f"a shard is copied with its commit record, but: {error}; {remedy}") from error
    if (record.objects, record.noise_sha256) != (manifest.shards.entries(shard), manifest.shards.noise_sha256(shard)):
        raise ManifestError(f"commit record {shard} of {uri} must be the one that was sealed, and is not; {remedy}")
    writer.copy_shard(reader.read_stored(shard, manifest.spec.stored_timesteps), record)
