"""`spec.json`: the spec of a store, written before its first shard, so that no run with another spec adds to it."""

from storage.errors import ManifestError, SpecMismatchError, StoreError, StoreNotFoundError
from storage.objects import exists, join, read_bytes, write_bytes
from storage.records.checked_json import dump_checked, load_checked
from storage.records.fields import require_keys, require_layout_version
from storage.records.spec import LAYOUT_VERSION, TrajectorySpec, digest

IDENTITY = "spec.json"
"""Key of the record."""


def announce(uri: str, spec: TrajectorySpec) -> None:
    """Writes the identity of a store before its first shard; every writer writes the same bytes."""
    if exists(join(uri, IDENTITY)):
        require_same_spec(uri, read_identity(uri), spec)
    else:
        write_identity(uri, spec)


def write_identity(uri: str, spec: TrajectorySpec) -> None:
    """Writes the identity of a store, or replaces it."""
    record = {"layout_version": LAYOUT_VERSION, "digest": digest(spec), "spec": spec.to_json()}
    write_bytes(join(uri, IDENTITY), dump_checked(record))


def read_identity(uri: str) -> TrajectorySpec:
    """Reads the spec of a growing or sealed store; raises `StoreNotFoundError` if there is none."""
    address = join(uri, IDENTITY)
    try:
        record = load_checked(read_bytes(address))
        require_layout_version("spec.json", record)
        require_keys("spec.json", record, ("layout_version", "digest", "spec"))
        spec = TrajectorySpec.from_json(record["spec"])
    except (StoreNotFoundError, PermissionError, ConnectionError):
        raise
    except StoreError as error:
        raise ManifestError(
            f"{address} cannot be used: {error}; delete it and run precompute again, which writes the same once more"
        ) from error
    if record["digest"] != digest(spec):
        raise ManifestError(
            f"{address} must hold the digest of its spec, got {record['digest']}; it was edited: restore it"
        )
    return spec


def require_same_spec(uri: str, found: TrajectorySpec, wanted: TrajectorySpec) -> None:
    """Raises `SpecMismatchError`, which names the fields that differ, unless both specs are the same."""
    if digest(found) == digest(wanted):
        return
    theirs, ours = found.to_json(), wanted.to_json()
    differing = {name: (theirs[name], ours[name]) for name in ours if theirs[name] != ours[name]}
    raise SpecMismatchError(
        f"a store holds the trajectories of one spec, but {uri} is that of another; (found, wanted) per field: "
        f"{differing}; use another root"
    )
