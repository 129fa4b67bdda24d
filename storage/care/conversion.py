"""Converts a store from one layout to another, bit for bit.

The result is the store that precompute would have made in that layout; it keeps the statistics and run facts of its
shards. Converting back gives the original objects. Shards are converted one by one, so an interrupted conversion can be
resumed.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from shlex import quote

from storage.care.companions import carry_companions
from storage.errors import ManifestError, StoreNotFoundError
from storage.layouts import Reader, Writer
from storage.objects import join
from storage.reading import open_store
from storage.records import TrajectorySpec, digest, read_commit, store_uri
from storage.writing import missing_shards, open_writer, seal

THREADS = 4
"""Number of shards converted at once; each is in memory twice, as arrays and as objects."""


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """Result of `convert`."""

    uri: str
    """The new store, sealed."""
    digest: str
    num_samples: int
    shards: int
    copied: int
    """Shards that this call converted; the others existed."""
    seconds: float


def convert(
    uri: str,
    layout: str,
    root: str | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
    threads: int = THREADS,
) -> Conversion:
    """Writes the same trajectories as a store in another layout, seals it, and leaves the old store unchanged.

    The autoencoder of latents goes along to another root.

    Args:
        uri: URI of a sealed store.
        layout: name of the new layout (`storage.layouts.LAYOUTS`).
        root: root of the new store, `<root>/<teacher>/<digest>`; None means the root of the old one.
        progress: called with the number of shards done and their total, from any thread.
        threads: number of shards converted at once.

    Raises:
        ValueError: the store has this layout already, the layout is unknown, or the store was moved and `root` is None.
        ShardCorruptError: an object of the old store has changed since its commit; shards copied so far are kept.
        ManifestError: a record of the old store is damaged.
    """
    began = time.monotonic()
    reader = open_store(uri)
    manifest, spec = reader.manifest, reader.manifest.spec
    if layout == spec.layout:
        raise ValueError(f"a store is converted to another layout, but {uri} is {layout} already; name the other one")
    target = replace(spec, layout=layout)
    old_root = _above(reader) if root is not None else _root(reader)
    root = old_root if root is None else root
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
    # Before the store can be read: who trains from it looks for the autoencoder and the embeddings.
    carry_companions(target, old_root, root)
    sealed = seal(root, target, manifest.num_samples)
    return Conversion(
        uri=store_uri(root, target),
        digest=digest(target),
        num_samples=sealed.num_samples,
        shards=sealed.num_shards,
        copied=len(missing),
        seconds=time.monotonic() - began,
    )


def _above(reader: Reader) -> str:
    """Returns what lies two levels above a store, where its companions would be, wherever it was moved."""
    return reader.uri.rstrip("/").rpartition("/")[0].rpartition("/")[0] or "."


def _root(reader: Reader) -> str:
    """Returns the root below which a store lies."""
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
    remedy = f"run `advkd cache repair {quote(uri)}` first"
    try:
        record = read_commit(uri, shard)
    except (ManifestError, StoreNotFoundError) as error:
        raise ManifestError(f"a shard is copied with its commit record, but: {error}; {remedy}") from error
    if (record.objects, record.noise_sha256) != (manifest.shards.entries(shard), manifest.shards.noise_sha256(shard)):
        raise ManifestError(f"commit record {shard} of {uri} must be the one that was sealed, and is not; {remedy}")
    writer.copy_shard(reader.read_stored(shard, manifest.spec.stored_timesteps), record)
