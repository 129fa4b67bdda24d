"""Any damage to any object of a store, drawn by hypothesis; and forgery: damage that the records agree with."""

import contextlib
import hashlib
import re
import secrets
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st

from storage import (
    ObjectEntry,
    StoreError,
    TrajectoryLoader,
    TrajectorySpec,
    delete,
    digest,
    join,
    list_prefix,
    list_stores,
    open_store,
    read_bytes,
    read_manifest,
    verify,
    write_bytes,
)
from storage.layouts import layout_of
from storage.records import (
    dump_checked,
    load_checked,
    piece_checksums,
    read_commit,
    write_commit,
    write_index,
    write_manifest,
)
from storage.writing import reseal

KINDS = ("flip", "cut", "grow", "delete", "swap objects", "swap ranges")


@dataclass(frozen=True)
class Damage:
    """A damaged object and its bytes, None if it is missing."""

    key: str
    kind: str
    data: bytes | None = field(repr=False)


class Contents(dict[str, bytes]):
    """Every object of a store by its key; a failed test does not print them all."""

    def __repr__(self) -> str:
        return f"<{len(self)} objects>"


def examples(root: str, local: int = 25, s3: int = 5) -> Callable[[Any], Any]:
    """Returns the settings of a property: few examples if every one costs requests."""
    return settings(
        max_examples=s3 if root.startswith("s3://") else local,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def fresh(root: str) -> str:
    """Returns a new empty root below a root, for one example."""
    return join(root, secrets.token_hex(4))


def contents(uri: str, prefix: str = "") -> Contents:
    """Reads every object of a store whose key has a prefix."""
    return Contents({key: read_bytes(join(uri, key)) for key in list_prefix(uri) if key.startswith(prefix)})


@st.composite
def damages(draw: st.DrawFn, good: Contents, keys: tuple[str, ...]) -> Damage:
    """Draws a single damage to one of `keys`; `good` is what the store holds."""
    key, kind = draw(st.sampled_from(keys)), draw(st.sampled_from(KINDS))
    data = good[key]
    start, stop = sorted(draw(st.lists(st.integers(0, len(data)), min_size=2, max_size=2)))
    if kind == "delete":
        return Damage(key, kind, None)
    if kind == "flip":
        mask = draw(st.integers(1, 255))
        changed = data[:start] + bytes(byte ^ mask for byte in data[start:stop]) + data[stop:]
    elif kind == "cut":
        changed = data[:start] + data[stop:]
    elif kind == "grow":
        changed = data[:start] + draw(st.binary(min_size=1, max_size=64)) + data[start:]
    elif kind == "swap objects":
        changed = good[draw(st.sampled_from(sorted(good)))]
    else:
        middle = draw(st.integers(start, stop))
        changed = data[:start] + data[middle:stop] + data[start:middle] + data[stop:]
    assume(changed != data)
    return Damage(key, kind, changed)


@contextlib.contextmanager
def inflicted(uri: str, damage: Damage, good: Contents) -> Iterator[None]:
    """Inflicts the damage until the block ends."""
    inflict(uri, damage)
    try:
        yield
    finally:
        write_bytes(join(uri, damage.key), good[damage.key])


def inflict(uri: str, damage: Damage) -> None:
    """Puts the damaged bytes where the good ones were."""
    address = join(uri, damage.key)
    if damage.data is None:
        delete(address)
    else:
        write_bytes(address, damage.data)


def forge(uri: str, spec: TrajectorySpec, num_samples: int, shard: int, changes: Mapping[str, bytes]) -> None:
    """Replaces objects of a shard and makes commit record, index and manifest agree, as a forger with rights could."""
    for key, data in changes.items():
        write_bytes(join(uri, key), data)
    record = read_commit(uri, shard)
    objects = [read_bytes(join(uri, entry.key)) for entry in record.objects]
    entries = tuple(
        ObjectEntry(key=entry.key, size=len(data), sha256=hashlib.sha256(data).hexdigest(), crc32=piece_checksums(data))
        for entry, data in zip(record.objects, objects, strict=True)
    )
    write_commit(uri, replace(record, objects=entries))
    reseal(uri, spec, num_samples)


def claim(uri: str, spec: TrajectorySpec, num_samples: int) -> None:
    """Seals a store as one of another spec: its objects are recorded with the sizes of that spec."""
    real, layout = read_manifest(uri), layout_of(spec)
    sizes = [min(size, 2**59) for size in layout.object_bytes(spec)]
    rows = []
    for shard in range(spec.num_shards(num_samples)):
        keys = [template.format(shard=shard) for template in layout.templates(spec)]
        hashes = [hashlib.sha256(read_bytes(join(uri, key))).hexdigest() for key in keys]
        rows.append(
            tuple(ObjectEntry(key=k, size=size, sha256=h) for k, size, h in zip(keys, sizes, hashes, strict=True))
        )
    noise = "0" * 64 if spec.noise == "seeded" else None
    index = write_index(uri, layout.templates(spec), [(row, noise) for row in rows])
    statistics = dict.fromkeys(spec.timesteps, next(iter(real.statistics.values())))
    claimed = replace(
        real, spec=spec, digest=digest(spec), num_samples=num_samples, shards=index, metadata=(), statistics=statistics
    )
    write_manifest(uri, claimed)


def change_record(address: str, changes: dict[str, Any]) -> None:
    """Edits a record and makes it agree with its own hash, as a forger with rights could."""
    write_bytes(address, dump_checked(load_checked(read_bytes(address)) | changes))


def assert_explained(error: BaseException) -> None:
    """Asserts that the error is one of ours, and that its message has a rule, a fact and a remedy."""
    message = str(error)
    assert isinstance(error, StoreError | ValueError), f"{type(error).__name__}: {message}"
    assert re.search(r"\b(must|needs|can|has|holds|keeps|is|demands)\b", message), message
    assert re.search(
        r"[;:] .*\b(repair|restore|restored|restores|run|open it|use|check|choose|sort|append|take|ask|delete|foreign|"
        r"damaged|give|declare|rename|name it)\b",
        message,
        re.DOTALL,
    ), message


def everything(uri: str) -> Iterator[Callable[[], object]]:
    """Yields each way of reading a store."""
    yield lambda: open_store(uri)
    yield lambda: verify(uri)
    yield lambda: list_stores(uri.rsplit("/", 2)[0])
    yield lambda: open_store(uri).read_shard(0)
    yield lambda: open_store(uri).read_samples([0])
    yield lambda: open_store(uri).read_samples(range(open_store(uri).manifest.num_samples))
    yield lambda: open_store(uri).read_samples([0], timesteps=open_store(uri).manifest.spec.timesteps[:1])
    yield lambda: list(TrajectoryLoader(uri, batch_size=4, seed=1).epoch(0))


def refusals(uri: str) -> int:
    """Returns how many ways of reading raise; each must raise one of our errors."""
    count = 0
    for read in everything(uri):
        try:
            read()
        except Exception as error:
            assert_explained(error)
            count += 1
    return count


def peak_memory(action: Callable[[], object], limit: int | None = None) -> int:
    """Returns the peak memory of an action in bytes, without what was allocated before.

    What other threads of the process allocate meanwhile counts too. If a `limit` is given, a peak of that or more is
    therefore measured again, twice at most, and the least is returned; give none where a second call finds caches.
    """
    peaks: list[int] = []
    while not peaks or (limit is not None and min(peaks) >= limit and len(peaks) < 3):
        tracemalloc.start()
        try:
            action()
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    return min(peaks)
