"""A plan says what really happens: counted on a real S3 server, and compared with the design's figures at scale."""

import json
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiobotocore.httpsession import AIOHTTPSession
from typer.testing import CliRunner

from advkd.cli import cache_plan as cache_plan_cli
from advkd.cli.main import command_line
from advkd.teachers import SolverSpec
from advkd.trajectories import (
    Filling,
    PrecomputeSpec,
    cached_teacher,
    precompute,
    seal_store,
    trajectory_spec,
    what_is_missing,
)
from advkd.trajectories import plan as cache_plan
from advkd.trajectories.costs import Prices, Requests
from advkd.trajectories.plan import CachePlan, plan_cache
from advkd.trajectories.unseen_teacher import UnseenTeacher
from storage import TrajectoryLoader, list_prefix, open_store, store_uri
from storage.objects import s3 as s3_objects
from storage.objects.access import list_objects
from tests.advkd.conftest import FolderMaker, mixture_spec

pytestmark = pytest.mark.timeout(300)
runner = CliRunner()
Counting = Callable[[], AbstractContextManager[Counter[str]]]
DATA = ("t", "shards/shard-")


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    """Counts every HTTP request to S3 inside of a block, repeated ones too, as it is billed."""
    counts: list[Counter[str]] = []
    send = AIOHTTPSession.send

    async def counted(self: Any, request: Any) -> Any:
        if counts:
            kind = "list" if "list-type=2" in request.url else {"PUT": "put"}.get(request.method, "get")
            assert request.method in ("PUT", "GET", "HEAD")
            counts[-1][kind] += 1
        return await send(self, request)

    @contextmanager
    def block() -> Iterator[Counter[str]]:
        counts.append(Counter(put=0, get=0, list=0))
        yield counts[-1]
        counts.clear()

    monkeypatch.setattr(AIOHTTPSession, "send", counted)
    return block


def asked(counted: Counter[str]) -> Requests:
    return Requests(**counted)


def planned(spec: PrecomputeSpec, **options: Any) -> CachePlan:
    return plan_cache(trajectory_spec(spec, cached_teacher(spec.teacher, spec.device)), spec.samples, **options)


class TestARealRun:
    """Every count of a small run, exactly."""

    @pytest.mark.parametrize("layout", ["zarr", "webdataset"])
    @pytest.mark.parametrize("noise", ["stored", "seeded"])
    def test_requests_objects_and_bytes(self, s3_root: str, counting: Counting, layout: str, noise: str) -> None:
        spec = mixture_spec(Path(), samples=40, format=layout, noise=noise)
        self.check(spec, s3_root, counting)

    @pytest.mark.parametrize("layout", ["zarr", "webdataset"])
    def test_more_records_than_a_listing_holds(
        self, s3_root: str, counting: Counting, monkeypatch: pytest.MonkeyPatch, layout: str
    ) -> None:
        monkeypatch.setattr(s3_objects, "PAGE", 2)
        monkeypatch.setattr(cache_plan, "_KEYS_PER_LISTING", 2)
        self.check(mixture_spec(Path(), samples=40, shard_samples=8, format=layout), s3_root, counting)

    def check(self, spec: PrecomputeSpec, root: str, counting: Counting) -> None:
        spec = PrecomputeSpec(**(vars(spec) | {"store": root}))
        expected = planned(spec)
        with counting() as counted:
            identity, missing = what_is_missing(spec)
            for shard in missing:
                Filling.of(spec).compute(shard)
        assert asked(counted) == expected.precompute
        with counting() as counted:
            manifest = seal_store(spec).manifest
        assert asked(counted) == expected.seal
        uri = store_uri(root, identity)
        with counting() as counted:
            reader = open_store(uri)
        assert asked(counted) == expected.open
        with counting() as counted:
            for shard in range(manifest.num_shards):
                reader.read_stored(shard)
        assert asked(counted) == expected.epoch
        with counting() as counted:
            read = list(TrajectoryLoader(uri, batch_size=8, seed=0, drop_last=False, threads=1).epoch(0))
        assert sum(len(batch.indices) for batch in read) == spec.samples
        assert asked(counted) == expected.open + expected.epoch
        found = list_objects(uri)
        data = [one for one in found if one.key.startswith(DATA) and not one.key.endswith("zarr.json")]
        metadata = [one for one in found if one.key.endswith("zarr.json")]
        assert expected.total_objects == len(found)
        assert (expected.data_objects, expected.data_bytes) == (len(data), sum(one.size for one in data))
        assert expected.data_bytes == manifest.total_bytes
        assert (expected.metadata_objects, expected.metadata_bytes) == (
            len(metadata),
            sum(one.size for one in metadata),
        )
        assert expected.largest_object == max(one.size for one in data)
        assert expected.shard_bytes * expected.num_shards == expected.data_bytes
        assert (expected.num_shards, expected.num_samples) == (manifest.num_shards, manifest.num_samples)
        states = [one for one in data if not one.key.endswith("idx.json")]
        assert expected.epoch_bytes == sum(one.size for one in states)

    def test_the_whole_of_precompute(self, s3_root: str, counting: Counting) -> None:
        """Of one shard: several that are put at the same time may each put spec.json."""
        spec = PrecomputeSpec(**(vars(mixture_spec(Path(), samples=16)) | {"store": s3_root}))
        with counting() as counted:
            precompute(spec)
        assert asked(counted) == planned(spec).precompute + planned(spec).seal

    def test_passes(self, tmp_path: Path, teacher_folder: FolderMaker) -> None:
        spec = mixture_spec(tmp_path / "stores", teacher=str(teacher_folder()), samples=20, dtype="float16")
        teacher: Any = cached_teacher(spec.teacher, spec.device)
        # The memory of its passes is measured by two of them, once per process.
        assert Filling.of(spec).micro_batch == spec.block_samples
        passes = 0

        def count(module: Any, given: Any, output: Any) -> None:
            nonlocal passes
            passes += len(given[0])

        with teacher.network.register_forward_hook(count):
            precompute(spec)
        assert passes == planned(spec).passes == 32 * 4

    def test_on_disk(self, tmp_path: Path) -> None:
        spec = mixture_spec(tmp_path)
        assert planned(spec).total_objects == len(list_prefix(precompute(spec).uri))


class TestTheFiguresOfTheDesign:
    """100 million samples (docs/cache.md), planned without any teacher."""

    PYRAMID = "256,128,64,32,16,8,8,16,32,64,128,256"
    FIGURES = (
        (197e12, "3x256x256", ("--captures", "4")),
        (66e12, "3x256x256", ("--captures", "11", "--resolutions", PYRAMID, "--noise", "seeded")),
        (4.1e12, "4x32x32", ("--captures", "4")),
    )

    @pytest.fixture(autouse=True)
    def _no_teacher(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def loaded(source: str, device: str) -> None:
            raise AssertionError("a plan by shape loads no teacher")

        monkeypatch.setattr(cache_plan_cli, "cached_teacher", loaded)

    @pytest.mark.parametrize(("size", "shape", "options"), FIGURES)
    @pytest.mark.parametrize("layout", ["zarr", "webdataset"])
    def test_bytes(self, size: float, shape: str, options: tuple[str, ...], layout: str) -> None:
        command = [
            "cache",
            "plan",
            "--shape",
            shape,
            "--samples",
            "100000000",
            "--steps",
            "50",
            *options,
            "--format",
            layout,
        ]
        told = json.loads(runner.invoke(command_line(command), [*command, "--json"]).stdout)
        states = told["num_shards"] * told["spec"]["shard_samples"] * self.state_bytes(told["spec"])
        assert abs(states / size - 1) < 0.01
        # A tar holds headers of 512 bytes and more per state, Zarr a few bytes per chunk.
        assert states < told["data_bytes"] < states * (1.0001 if layout == "zarr" else 1.3)
        assert told["passes"] == 50 * told["computed_samples"] >= 5e9
        assert f"{told['data_bytes']:,}" in runner.invoke(command_line(command), command).stdout

    def state_bytes(self, spec: dict[str, Any]) -> int:
        """By hand: two bytes per number."""
        pixels = sum(height * width for height, width in spec["resolutions"][spec["noise"] == "seeded" :])
        return 2 * spec["sample_shape"][0] * pixels

    def test_any_scale(self) -> None:
        """A plan is arithmetic: 10^15 samples take no longer than one."""
        spec = trajectory_spec(PrecomputeSpec(), UnseenTeacher.of("1x8x8"))
        for samples in (1, 10**15):
            told = plan_cache(spec, samples, workers=10**6, passes_per_second=1e6)
            assert told.computed_samples == -(-samples // spec.shard_samples) * spec.shard_samples


class TestTimeAndCosts:
    """By hand."""

    SPEC = PrecomputeSpec(solver=SolverSpec(steps=10), captures=2, shard_samples=100, block_samples=50)

    def plan(self, samples: int, **options: Any) -> CachePlan:
        return plan_cache(trajectory_spec(self.SPEC, UnseenTeacher.of("1x8x8")), samples, **options)

    def test_whole_shards_to_whole_workers(self) -> None:
        told = self.plan(950, workers=4, passes_per_second=50.0)
        assert (told.num_shards, told.passes) == (10, 10_000)
        assert told.worker_seconds == pytest.approx(200.0)
        # Ten shards of 20 s each: some of four workers do three of them.
        assert told.wall_seconds == pytest.approx(60.0)
        assert (self.plan(950).worker_seconds, self.plan(950).wall_seconds, self.plan(950).costs) == (None, None, None)

    def test_costs(self) -> None:
        prices = Prices(thousand_puts=5.0, thousand_gets=4.0, gigabyte_month=1e6, gigabyte_read=1e5, worker_hour=3600.0)
        told = self.plan(1000, passes_per_second=50.0, prices=prices)
        assert told.costs is not None
        making = told.precompute + told.seal
        assert told.costs.compute == pytest.approx(200.0)
        assert told.costs.making == pytest.approx((making.put + making.list) * 0.005 + making.get * 0.004)
        assert told.costs.month == pytest.approx((told.data_bytes + told.metadata_bytes) * 1e-3)
        assert told.costs.epoch == pytest.approx((1 + told.epoch.get) * 0.004 + told.epoch_bytes * 1e-4)

    def test_index_pages_that_a_reader_cannot_hold(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Against a simulation of the reader: the 64 pages that were used last are held."""
        shards, pages, held = 20_000, 200, OrderedDict[int, None]()
        page_of = np.random.default_rng(0).permutation(np.repeat(np.arange(pages), shards // pages))
        reads = 0
        for page in page_of.tolist():
            reads += page not in held
            held[page] = None
            held.move_to_end(page)
            if len(held) > 64:
                held.popitem(last=False)
        monkeypatch.setattr(cache_plan, "PAGE_SHARDS", shards // pages)
        told = self.plan(shards * 100)
        assert abs((told.epoch.get - shards * 3) / reads - 1) < 0.02
        assert any("pages of the index" in warning for warning in told.warnings)

    @pytest.mark.parametrize(
        ("samples", "options", "part"),
        [
            (1001, {"workers": 12}, "1 of 12 have nothing to do"),
            (1, {}, "99 samples beyond the 1"),
            (10**8, {"passes_per_second": 10.0}, "more than 30 days"),
            (10**8, {}, "use a larger --shard-samples"),
        ],
    )
    def test_warnings(self, samples: int, options: dict[str, Any], part: str) -> None:
        assert any(part in warning for warning in self.plan(samples, **options).warnings)

    def test_no_warning_without_a_reason(self) -> None:
        assert self.plan(1000, workers=2, passes_per_second=50.0).warnings == ()

    def test_an_object_that_is_too_large(self) -> None:
        spec = PrecomputeSpec(shard_samples=2**13, captures=1, block_samples=2**13)
        told = plan_cache(trajectory_spec(spec, UnseenTeacher.of("3x512x512")), 2**13)
        assert any("smaller than 5 GiB" in warning for warning in told.warnings)
