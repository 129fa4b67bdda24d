"""`advkd cache ls|show|verify` as typed: what they print where, for people and machines, and how they end."""

import re
import shutil
import time
from pathlib import Path

import pytest

from advkd.text.units import age_text, billed_text, duration_text, size_text
from storage import digest, open_writer, read_manifest, store_uri
from storage.testing.trajectories import fill, make_spec, shard_states
from tests.advkd.cli.cache_commands import make_stores, refused, run, told

pytestmark = pytest.mark.timeout(300)
COMMANDS = ("ls", "show", "verify", "repair", "gc", "convert", "plan", "rm")
RICH = {
    "noise": "seeded",
    "signal": (0.0, 0.5, 1.0),
    "sigma": (1.0, 0.8, 0.0),
    "resolutions": ((4, 4), (2, 4), (4, 4)),
    "uint8_ranges": (None, None, (-8.0, 8.0)),
}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three stores, for copies."""
    root = tmp_path_factory.mktemp("stores")
    make_stores(str(root))
    return root


@pytest.fixture
def root(stores: Path, tmp_path: Path) -> str:
    """A sealed store, a growing one and one with a damaged manifest."""
    return str(shutil.copytree(stores, tmp_path / "root"))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    overview = run("--help").stdout
    assert re.search(rf"\b{command}\b +[A-Z][a-z]+", overview)
    shown = run(command, "--help").stdout
    assert "--json" in shown
    assert re.search(r"[A-Z][a-z]+ [a-z]+.*[.,;:]", shown)


class TestLs:
    """What stores there are."""

    def test_table(self, root: str) -> None:
        result = run("ls", root)
        assert result.stdout.splitlines()[-1] == root
        for part in ("sealed", "growing", "unreadable", "digits", store_uri(root, make_spec()), "size", "age"):
            assert part in result.stdout
        assert "surprise" in result.stderr

    def test_json(self, root: str) -> None:
        listed = told("ls", root)
        assert sorted((one["state"], one["num_samples"]) for one in listed) == [
            ("growing", 8),
            ("sealed", 20),
            ("unreadable", 0),
        ]
        per_shard = read_manifest(store_uri(root, make_spec())).total_bytes // 3
        assert {one["state"]: one["bytes"] for one in listed} == {
            "sealed": 3 * per_shard,
            "growing": per_shard,
            "unreadable": None,
        }
        assert all(0 <= time.time() - one["written"] < 60 for one in listed if one["state"] != "unreadable")

    def test_nothing(self, tmp_path: Path) -> None:
        assert "no stores" in run("ls", str(tmp_path)).stdout
        assert told("ls", str(tmp_path)) == []


class TestShow:
    """Everything that one would ask of a store."""

    def test_prints_everything(self, root: str) -> None:
        spec, uri = make_spec(), store_uri(root, make_spec())
        result = run("show", uri)
        assert result.stdout.splitlines()[-1] == uri
        manifest = read_manifest(uri)
        for part in (
            *(digest(spec), spec.fingerprint, "ddim, 20 steps, ODE", '"eta": 0.0', "conditioning"),
            *("7, noise stored", "float16", "20, and 4 hidden", "0.010000", "0.990000", "1 page(s)"),
            *(
                f"{manifest.total_bytes:,}",
                "9 data objects",
                "zarr, 8 samples per shard, 4 per block",
                duration_text(manifest.elapsed_seconds),
            ),
            *(manifest.author, manifest.writer, *manifest.revisions, manifest.created, manifest.sealed),
            *("mean", "std", "min", "max", "max error", "bound", "rms error", "rms detail"),
        ):
            assert part in result.stdout, part
        found = manifest.statistics[500]
        for value in (f"{found.mean:.4f}", f"{found.std:.4f}", f"{found.max_error:.2e}", f"{found.rms_error:.2e}"):
            assert value in result.stdout

    def test_how_states_are_stored(self, tmp_path: Path) -> None:
        spec = make_spec(**RICH, deterministic=False, sampler="ddpm", guidance_scale=2.5, conditioning={"labels": 10})
        fill(str(tmp_path), spec, 8)
        uri = store_uri(str(tmp_path), spec)
        shown = run("show", uri).stdout
        for part in ("SDE (stochastic)", "2.5", '{"labels": 10}', "drawn from the seed", "2 x 4"):
            assert part in shown
        assert "uint8 of [-8, 8]" in shown
        statistics = told("show", uri)["statistics"]
        for timestep, values in statistics.items():
            largest = max(abs(values["min"]), abs(values["max"]))
            assert values["error_bound"] == spec.encoding(int(timestep)).error_bound(largest)
            # The noise is rounded before the solver starts, so storing it loses nothing.
            assert 0 <= values["max_error"] <= values["error_bound"]
            assert (values["max_error"] > 0) == (timestep != "999")
        assert statistics["500"]["rms_detail"] > 0 == statistics["0"]["rms_detail"]

    def test_fits_into_a_hundred_columns(self, tmp_path: Path) -> None:
        long = {f"a_long_setting_of_the_scheduler_{number}": number / 7 for number in range(12)}
        spec = make_spec(**RICH, sampler_config=long, conditioning=long)
        fill(str(tmp_path), spec, 8)
        shown = run("show", store_uri(str(tmp_path), spec)).stdout
        assert max(len(line.rstrip()) for line in shown.splitlines()[:-1]) <= 100

    def test_json(self, root: str) -> None:
        uri = store_uri(root, make_spec())
        shown = told("show", uri)
        assert (shown["spec"], shown["uri"]) == (make_spec().to_json(), uri)
        assert set(shown["statistics"]) == {"999", "500", "0"}
        manifest = read_manifest(uri)
        for fact in ("author", "writer", "created", "sealed", "elapsed_seconds"):
            assert shown[fact] == getattr(manifest, fact)
        assert (shown["revisions"], shown["index_pages"]) == (list(manifest.revisions), 1)

    def test_a_growing_store(self, root: str) -> None:
        uri = store_uri(root, make_spec(base_seed=8))
        shown = run("show", uri).stdout
        for part in ("growing", "1 committed so far", "of how many is not written", "the latest"):
            assert part in shown
        assert told("show", uri)["latest_commit"]

    def test_an_extension_under_way(self, root: str) -> None:
        uri = store_uri(root, make_spec())
        open_writer(root, make_spec()).write_shard(4, shard_states(make_spec(), 4))
        assert "1 more committed, not sealed yet" in run("show", uri).stdout
        assert told("show", uri)["shards_of_extension"] == 1


class TestVerify:
    """Whether every object is what was committed."""

    def test_a_good_store(self, root: str) -> None:
        uri = store_uri(root, make_spec())
        assert run("verify", uri).stdout.splitlines()[-1] == uri
        assert told("verify", uri) == {"uri": uri, "ok": True, "problems": []}

    def test_a_damaged_store(self, root: str) -> None:
        uri = store_uri(root, make_spec())
        damaged = Path(uri) / "t0500" / "c" / "1" / "0" / "0" / "0"
        damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
        result = run("verify", uri, code=1)
        assert "shard 1" in result.stderr
        assert f"advkd cache repair {uri}" in result.stderr
        assert [one["shard"] for one in told("verify", uri, code=1)["problems"]] == [1]


@pytest.mark.parametrize("command", ["show", "verify"])
def test_what_is_wrong_is_said_in_one_line(root: str, command: str) -> None:
    assert "nothing at" in refused(command, root + "/nowhere")
    unreadable = run(command, store_uri(root, make_spec(base_seed=9)), code=1)
    assert "surprise" in unreadable.stderr
    assert "not written yet" in refused("verify", store_uri(root, make_spec(base_seed=8)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (size_text(1023), "1023 B"),
        (size_text(118 * 2**20), "118.0 MiB"),
        (size_text(2**40 - 1), "1.0 TiB"),
        (billed_text(196.6e12), "196.6 TB"),
        (billed_text(0), "0 B"),
        (billed_text(3.2e18), "3,200.0 PB"),
        (duration_text(0.04), "0.0 s"),
        (duration_text(59.6), "60 s"),
        (duration_text(3600), "1 h"),
        (duration_text(86_400 * 41 + 7200), "41 d 2 h"),
        (age_text(None), "-"),
        (age_text(float("inf")), "-"),
        (age_text(0.0)[-2:], " d"),
    ],
)
def test_how_numbers_are_told(text: str, expected: str) -> None:
    assert text == expected
