"""Any damage to any object of a store, drawn by hypothesis; and forgery: damage that the records agree with."""

import contextlib
import hashlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st

from storage import ObjectEntry, TrajectorySpec, delete, join, list_prefix, read_bytes, seal, store_uri, write_bytes
from storage.checked_json import dump_checked, load_checked
from storage.commits import read_commit, write_commit

KINDS = ("flip", "cut", "grow", "delete", "swap objects", "swap ranges")


@dataclass(frozen=True)
class Damage:
    """One object and the bytes that it holds instead, None if it is gone."""

    key: str
    kind: str
    data: bytes | None = field(repr=False)


class Contents(dict[str, bytes]):
    """Every object of a store by its key; a test that fails does not print them all."""

    def __repr__(self) -> str:
        return f"<{len(self)} objects>"


def examples(root: str, local: int = 25, s3: int = 5) -> Callable[[Any], Any]:
    """Settings of a property: few examples where every one costs requests."""
    return settings(
        max_examples=s3 if root.startswith("s3://") else local,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def fresh(root: str) -> str:
    """An empty root below a root, one for each example."""
    return join(root, secrets.token_hex(4))


def contents(uri: str, prefix: str = "") -> Contents:
    """Every object of a store whose key starts so."""
    return Contents({key: read_bytes(join(uri, key)) for key in list_prefix(uri) if key.startswith(prefix)})


@st.composite
def damages(draw: st.DrawFn, good: Contents, keys: tuple[str, ...]) -> Damage:
    """Any single damage to one of `keys`; `good` is what the store holds."""
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
    """The damage, until the block ends."""
    inflict(uri, damage)
    try:
        yield
    finally:
        write_bytes(join(uri, damage.key), good[damage.key])


def inflict(uri: str, damage: Damage) -> None:
    """Put the damaged bytes where the good ones were."""
    address = join(uri, damage.key)
    if damage.data is None:
        delete(address)
    else:
        write_bytes(address, damage.data)


def forge(root: str, spec: TrajectorySpec, num_samples: int, shard: int, key: str, data: bytes) -> None:
    """Replace an object of a shard and make commit record and manifest agree with it, as somebody with rights could."""
    uri = store_uri(root, spec)
    write_bytes(join(uri, key), data)
    record = read_commit(uri, shard)
    entry = ObjectEntry(key=key, size=len(data), sha256=hashlib.sha256(data).hexdigest())
    objects = tuple(entry if found.key == key else found for found in record.objects)
    write_commit(uri, replace(record, objects=objects))
    delete(join(uri, "manifest.json"))
    seal(root, spec, num_samples)


def change_record(address: str, changes: dict[str, Any]) -> None:
    """Edit a record and make it agree with its own hash, as somebody with rights could."""
    write_bytes(address, dump_checked(load_checked(read_bytes(address)) | changes))
