"""`advkd cache plan` as typed: the options of precompute, and what it says."""

import json
from dataclasses import fields
from inspect import signature
from pathlib import Path

import pytest
from typer.testing import CliRunner

from advkd.cli.cache_plan import plan_command
from advkd.cli.main import command_line
from advkd.cli.precompute import precompute_command
from advkd.cli.precompute_options import precompute_spec
from advkd.teachers import SolverSpec
from advkd.trajectories import PrecomputeSpec, precompute
from advkd.trajectories.unseen_teacher import UnseenTeacher
from storage import open_store
from tests.advkd.conftest import mixture_spec
from tests.advkd.teachers.latents import dit_folder, ldm_folder

pytestmark = pytest.mark.timeout(300)
runner = CliRunner()
app = command_line(["cache", "plan"])


class TestTheCommand:
    """`advkd cache plan`, as typed."""

    def test_it_takes_all_options_of_precompute(self) -> None:
        precomputing, ours = signature(precompute_command).parameters, signature(plan_command).parameters
        names = {field.name for field in fields(PrecomputeSpec)} | {"steps", "sample_size"}
        assert names == (precomputing.keys() & ours.keys()) - {"as_json", "workers"}
        for name in names:
            assert ours[name].default == precomputing[name].default
        typed = {name: option.default for name, option in precomputing.items() if name in names}
        assert precompute_spec(typed) == PrecomputeSpec()

    def test_it_is_what_precompute_makes(self, tmp_path: Path) -> None:
        options = ["--teacher", "mixture", "--store", str(tmp_path), "--samples", "40", "--steps", "4"]
        options += ["--captures", "2", "--shard-samples", "16", "--block-samples", "8", "--uint8", "0:-9:9"]
        shown = runner.invoke(app, ["cache", "plan", *options])
        assert shown.exit_code == 0, shown.output
        assert list(tmp_path.iterdir()) == []
        spec = mixture_spec(tmp_path, samples=40, uint8=((0, -9.0, 9.0),), dtype="float16")
        made = precompute(spec)
        assert shown.stdout.splitlines()[-1] == made.uri
        told = json.loads(runner.invoke(app, ["cache", "plan", *options, "--json"]).stdout)
        manifest = open_store(made.uri).manifest
        assert (told["uri"], told["spec"]) == (made.uri, manifest.spec.to_json())
        assert (told["data_bytes"], told["num_shards"]) == (manifest.total_bytes, manifest.num_shards)

    def test_time_and_prices(self) -> None:
        options = ["--shape", "1x16x16", "--samples", "8192", "--workers", "4", "--passes-per-second", "100"]
        shown = runner.invoke(
            app, ["cache", "plan", *options, "--usd-per-worker-hour", "3.6", "--usd-per-1000-puts", "0.005"]
        )
        assert shown.exit_code == 0
        for part in ("6 min 49 s on 4 worker(s)", "27 min 18 s of work", "1.64 for workers", "8,192"):
            assert part in shown.stdout
        assert shown.stdout.splitlines()[-1] == "runs/stores"

    @pytest.mark.parametrize(
        ("options", "part"),
        [
            (["--shape", "256x256"], "write 3x256x256"),
            (["--shape", "0x8x8"], "all positive"),
            (["--shape", "3x8x8", "--workers", "0"], "one worker or more"),
            (["--shape", "3x8x8", "--passes-per-second", "0"], "positive speed"),
            (["--shape", "3x8x8", "--usd-per-gb-month", "-1"], "0 or more"),
            (["--shape", "3x8x8", "--steps", "7"], "must divide"),
            (["--shape", "3x8x8", "--resolutions", "3,3,3,3,3"], "must divide"),
        ],
    )
    def test_what_is_wrong_is_one_line(self, options: list[str], part: str) -> None:
        result = runner.invoke(app, ["cache", "plan", *options])
        assert result.exit_code == 1
        assert part in result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert result.stdout == ""

    def test_bad_numbers_of_precompute(self) -> None:
        result = runner.invoke(app, ["cache", "plan", "--shape", "3x8x8", "--samples", "0"])
        assert result.exit_code == 1
        # `advkd.cli.main` makes one line of it, as for `advkd precompute`.
        assert isinstance(result.exception, ValueError)
        assert "must be positive" in str(result.exception)


def test_a_teacher_of_a_shape_alone_computes_nothing() -> None:
    with pytest.raises(ValueError, match="name a teacher"):
        UnseenTeacher.of("3x8x8").states(None, SolverSpec(), ())  # type: ignore[arg-type]


class TestTheTeacherItself:
    """What only the teacher's folder tells: passes under guidance, the decoder, the memory of a pass."""

    def test_guidance_takes_two_passes_and_the_store_says_as_many(self, tmp_path: Path) -> None:
        folder = dit_folder(tmp_path / "dit")
        sizes = ["--samples", "16", "--steps", "4", "--captures", "2", "--shard-samples", "16", "--block-samples", "8"]
        told = {}
        for mark in ("", "#guidance=3"):
            options = ["--teacher", f"{folder}{mark}", "--store", str(tmp_path / "stores"), *sizes]
            given = runner.invoke(app, ["cache", "plan", *options, "--passes-per-second", "8", "--json"])
            assert given.exit_code == 0, given.output
            told[mark] = json.loads(given.stdout)
        assert (told[""]["passes"], told["#guidance=3"]["passes"]) == (64, 128)
        assert (told[""]["worker_seconds"], told["#guidance=3"]["worker_seconds"]) == (8, 16)
        spec = mixture_spec(
            tmp_path / "stores", teacher=f"{folder}#guidance=3", samples=16, solver=SolverSpec(steps=4), block_samples=8
        )
        assert precompute(spec).passes == 128
        shown = runner.invoke(app, ["cache", "plan", *options])
        assert "two per step under guidance" in shown.stdout

    def test_without_a_teacher_guidance_is_in_the_source(self) -> None:
        options = ["--shape", "4x32x32", "--samples", "512", "--json"]
        plain, guided = (
            json.loads(runner.invoke(app, ["cache", "plan", *options, "--teacher", source]).stdout)
            for source in ("any", "any#guidance=4")
        )
        assert guided["passes"] == 2 * plain["passes"]
        assert plain["teacher"] is None

    @pytest.mark.slow
    def test_the_decoder_and_the_micro_batch(self, tmp_path: Path) -> None:
        folder = ldm_folder(tmp_path / "faces")
        options = ["--teacher", str(folder), "--samples", "32", "--block-samples", "16", "--shard-samples", "16"]
        told = json.loads(runner.invoke(app, ["cache", "plan", *options, "--json"]).stdout)
        decoder, chosen = told["teacher"]["decoder"], told["teacher"]["micro_batch"]
        files = [folder / "vqvae" / name for name in ("config.json", "diffusion_pytorch_model.safetensors")]
        assert (decoder["kind"], decoder["bytes"]) == ("VQModel", sum(file.stat().st_size for file in files))
        assert decoder["seconds"] > 0
        assert (chosen["samples"], chosen["batch"]) == (16, 16)
        assert chosen["sample_bytes"] > 4 * 3 * 8 * 8
        # Both windows of a reader, of a store of two shards.
        assert told["window_bytes"]["full"] == 2 * told["num_shards"] * told["shard_bytes"]
        shown = runner.invoke(app, ["cache", "plan", *options, "--micro-batch", "4"])
        for part in ("4 of a block of 16, as asked for", "VQModel", "images of an evaluation", "for training"):
            assert part in " ".join(shown.stdout.split())

    def test_a_micro_batch_that_does_not_divide_is_one_line(self) -> None:
        result = runner.invoke(app, ["cache", "plan", "--teacher", "mixture", "--micro-batch", "5"])
        assert result.exit_code == 1
        assert "a micro-batch must divide the block of 128 samples, got 5" in result.stderr
