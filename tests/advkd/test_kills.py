"""Law 3, and a half of law 4: precompute killed at any instant, by any number of writers, and run again, makes the same store.

After every kill the store is compared with that of an undisturbed run: whatever has a name has the right bytes, what is
committed is whole and stays untouched, and nothing else lies there but unfinished files.
"""

import hashlib
import json
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from advkd.precompute import PrecomputeSpec, cached_teacher, trajectory_spec
from advkd.teachers import SolverSpec
from storage import is_sealed, join, list_prefix, missing_shards, read_bytes, read_manifest, store_uri, verify
from tests.advkd.kill_runner import CommandWriters, Ending, ForkedWriters, Writer, Writers, forked_writers
from tests.s3_server import S3Server

LAYOUTS = ("zarr", "webdataset")
KILLS = 50
RUN_FACTS = {"created", "sealed", "elapsed_seconds", "author"}
"""What commit records and manifests say about a run and not about the store; all else must be equal."""
UNFINISHED = ".tmp-"


@pytest.fixture(scope="module")
def forked() -> Iterator[ForkedWriters]:
    with forked_writers() as writers:
        yield writers


def small_spec(root: Path | str, layout: str, shards: int = 8) -> PrecomputeSpec:
    return PrecomputeSpec(
        teacher="mixture",
        store=str(root),
        samples=4 * shards - 1,
        solver=SolverSpec(steps=2),
        captures=2,
        shard_samples=4,
        block_samples=2,
        format=layout,
    )


def contents(uri: str) -> dict[str, object]:
    """Key -> what every run must write there: the bytes, or of records all that is no fact of a run."""
    return {key: _meaning(key, read_bytes(join(uri, key))) for key in list_prefix(uri)}


def _meaning(key: str, data: bytes) -> object:
    if key.startswith("commits/") or key == "manifest.json":
        return {name: value for name, value in json.loads(data).items() if name not in RUN_FACTS}
    return data


@dataclass
class Store:
    """A store that writers make, and are killed while they do."""

    writers: Writers
    spec: PrecomputeSpec
    expected: dict[str, object] | None
    """Contents of an undisturbed run's store; None: this is the undisturbed one."""
    folder: Path
    """Where its files lie on the disk, those of S3 as well."""
    environment: dict[str, str] = field(default_factory=dict)
    endings: list[Ending] = field(default_factory=list)
    phases: set[str] = field(default_factory=set)
    """What the kills left behind."""

    def __post_init__(self) -> None:
        self.identity = trajectory_spec(self.spec, cached_teacher("mixture", "cpu"))
        self.uri = store_uri(self.spec.store, self.identity)

    @property
    def sealed(self) -> bool:
        return is_sealed(self.spec.store, self.identity, self.spec.samples)

    @property
    def committed(self) -> set[int]:
        wanted = range(self.identity.num_shards(self.spec.samples))
        return set(wanted) - set(missing_shards(self.spec.store, self.identity, self.spec.samples))

    @property
    def kills(self) -> int:
        """Kills that hit a living process."""
        return sum(ending.killed for ending in self.endings)

    def round(self, *fates: dict[str, float | int]) -> list[Ending]:
        """One writer per fate, all at once; checks what they leave behind."""
        shards = self.committed
        marks = {key: self._mark(key) for key in self._keys(shards)}
        endings = self.writers.round(
            [Writer(spec=self.spec, environment=self.environment, **fate) for fate in fates]  # type: ignore[arg-type]
        )
        for ending, fate in zip(endings, fates, strict=True):
            assert ending.exit_code == 0 or (fate and ending.killed), "a writer that nobody killed must seal the store"
        self.endings += endings
        assert self.committed >= shards, "what was committed stays committed"
        assert marks == {key: self._mark(key) for key in marks}, "nobody computes a committed shard again"
        self.check()
        return endings

    def check(self) -> None:
        """The laws that hold at every instant."""
        found = contents(self.uri)
        if self.expected is not None:
            assert set(found) <= set(self.expected)
            assert {key for key in found if found[key] != self.expected[key]} == set()
        unfinished = self._unfinished(found)
        assert {name for name in unfinished if not name.startswith(UNFINISHED)} == set()
        committed = self.committed
        for shard in committed:
            for entry in json.loads(read_bytes(join(self.uri, f"commits/{shard:06d}.json")))["objects"]:
                assert hashlib.sha256(found[entry["key"]]).hexdigest() == entry["sha256"]
        if self.sealed:
            assert verify(self.uri) == []
            assert self.expected is None or set(found) == set(self.expected)
        else:
            data = {key for key in found if key.startswith("shards/") and not key.endswith("zarr.json")}
            self.phases |= {"within a write"} if unfinished else set()
            self.phases |= {"data without its commit"} if data - self._keys(committed) else set()
            self.phases |= {"between two shards"} if committed and not data - self._keys(committed) else set()
            self.phases |= {"committed, not sealed"} if not missing_shards_of(self) else set()

    def _keys(self, shards: set[int]) -> set[str]:
        records = {f"commits/{shard:06d}.json" for shard in shards}
        return records | {
            entry["key"] for record in records for entry in json.loads(read_bytes(join(self.uri, record)))["objects"]
        }

    def _mark(self, key: str) -> tuple[int, int]:
        status = (self.folder / key).stat()
        return status.st_ino, status.st_mtime_ns

    def _unfinished(self, found: dict[str, object]) -> set[str]:
        files = {path for path in self.folder.rglob("*") if path.is_file()}
        return {path.name for path in files - {self.folder / key for key in found}}
