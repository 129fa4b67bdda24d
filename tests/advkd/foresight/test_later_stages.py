"""What later stages would refuse is said before a store is paid for: a warning, or a refusal for a preset by name."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

from advkd.foresight import check_later_stages, refuse_for, warning_for
from advkd.presets import PRESETS, fitted, fitted_store
from advkd.students import StudentSpec
from advkd.teachers import SolverSpec, load_teacher
from advkd.training import TrainSpec
from advkd.trajectories import PrecomputeSpec, UnseenTeacher, trajectory_spec
from storage import digest
from tests.advkd.cli.calls import Cli, assert_refused
from tests.advkd.conftest import mixture_spec

MIB = 2**20


def test_a_store_that_goes_on_is_no_matter(tmp_path: Path) -> None:
    assert warning_for(mixture_spec(tmp_path, samples=64)) is None
    refuse_for(mixture_spec(tmp_path, samples=64), "quick")


def test_a_store_too_small_for_a_batch(tmp_path: Path) -> None:
    small = mixture_spec(tmp_path, samples=16)
    said = warning_for(small)
    assert said is not None
    assert (
        "the preset full would refuse this store: a run's batch must fit into its trajectories, got batch_size" in said
    )
    assert "precompute more samples" in said
    with pytest.raises(ValueError, match=r"a store for the preset 'quick' .*batch_size 64 of 16; precompute more"):
        refuse_for(small, "quick")
    refuse_for(small, "any")
    with pytest.raises(ValueError, match="a preset must be one of"):
        refuse_for(small, "fast")


def test_a_preset_that_takes_it_is_named(tmp_path: Path) -> None:
    stochastic = replace(
        PRESETS["paper"].precompute, teacher="mixture", store=str(tmp_path), solver=SolverSpec(kind="ddpm", steps=1000)
    )
    said = warning_for(stochastic)
    assert said is not None
    assert "the preset paper takes it" in said
    with pytest.raises(ValueError, match=r"for the preset 'full'"):
        refuse_for(stochastic, "full")


@pytest.mark.parametrize(
    ("changes", "more", "message"),
    [
        (
            {"student": StudentSpec(width=8, blocks=(1, 1, 1))},
            {},
            r"blocks must be one number, or one for each of the 2",
        ),
        ({"student": StudentSpec(width=8, patch=3)}, {}, r"patch must divide height and width, got 3 for 16x16"),
        ({"trajectories": 65}, {}, "cannot have more trajectories than its cache"),
        ({"batch_size": 128, "samples": 256}, {}, r"batch must fit into its trajectories, got batch_size 128 of 64"),
        ({}, {"samples": 1}, r"EvaluateSpec\.samples must be at least"),
        ({}, {"features": "nothing"}, "nothing"),
        ({}, {"model": "a/b"}, "a/b"),
        ({}, {"processes": 3}, "3"),
    ],
)
def test_each_stage_is_asked(tmp_path: Path, changes: dict[str, object], more: dict[str, object], message: str) -> None:
    spec = mixture_spec(tmp_path, samples=64)
    train = TrainSpec(**({"student": StudentSpec(width=8, blocks=1), "samples": 128, "rise_samples": 8} | changes))
    teacher = load_teacher("mixture")
    with pytest.raises(ValueError, match=message):
        check_later_stages(spec, train, teacher, **({"samples": 64} | more))


def test_as_typed(tmp_path: Path, cli: Cli) -> None:
    asked = ("precompute", "--teacher", "mixture", "--store", tmp_path, "--samples", 16, "--steps", 4)
    sizes = ("--captures", 2, "--shard-samples", 16, "--block-samples", 8)
    assert_refused(cli(*asked, *sizes, "--for-preset", "full"), "a store for the preset 'full'", "--for-preset any")
    assert not list(tmp_path.iterdir())
    warned = cli(*asked, *sizes)
    assert warned.code == 0
    assert "warning: the preset full would refuse this store: a run's batch" in warned.err
    silent = cli(*asked, *sizes, "--for-preset", "any")
    assert (silent.code, "warning" in silent.err) == (0, False)


# -- sizes by bytes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "begins"), [("quick", 256), ("full", 1024), ("paper", 128)])
def test_the_digits_presets_are_what_they_were(name: str, begins: int) -> None:
    chosen = PRESETS[name]
    teacher = UnseenTeacher.of("1x16x16")
    store = trajectory_spec(replace(chosen.precompute, solver=SolverSpec(kind="ddim", steps=50)), teacher)
    assert (store.shard_samples, store.block_samples) == (begins, 128)
    assert fitted_store(chosen.precompute, store) == chosen.precompute
    assert fitted(chosen, store).window == chosen.train.window


@pytest.mark.parametrize("name", ["quick", "full"])
@pytest.mark.parametrize("shape", ["3x32x32", "4x32x32", "3x256x256", "4x128x128", "3x512x512"])
def test_shards_and_windows_are_bounded_in_bytes(name: str, shape: str) -> None:
    chosen, teacher = PRESETS[name], UnseenTeacher.of(shape)
    asked = replace(chosen.precompute, solver=SolverSpec(kind="ddim", steps=50))
    asked = fitted_store(asked, trajectory_spec(asked, teacher))
    store = trajectory_spec(asked, teacher)
    held = store.shard_samples * store.trajectory_bytes
    assert held <= 64 * MIB
    train = fitted(chosen, store)
    assert train.window * held <= 1024 * MIB
    # As much as fits, of what the preset has.
    assert train.window == chosen.train.window or (train.window + 1) * held > 1024 * MIB


@pytest.mark.thorough
def test_a_preset_sizes_its_store_in_a_recipe(tmp_path: Path) -> None:
    from flows.recipe import recipe

    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=128, in_channels=3, out_channels=3, layers_per_block=1, norm_num_groups=4,
        block_out_channels=(8,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
        add_attention=False,
    )  # fmt: skip
    DDPMPipeline(unet=unet, scheduler=DDPMScheduler()).save_pretrained(tmp_path / "large")
    plan = recipe(str(tmp_path / "large"), "full", root=str(tmp_path))
    teacher = load_teacher(str(tmp_path / "large"))
    store = trajectory_spec(plan.precompute, teacher)
    assert store.shard_samples == 128
    assert plan.train.window * store.shard_samples * store.trajectory_bytes <= 2**30
    assert digest(store)
    assert json.dumps(store.to_json())
    own = recipe(
        str(tmp_path / "large"), "full", root=str(tmp_path), precompute=PrecomputeSpec(shard_samples=1024, captures=2)
    )
    # What its user says is not replaced.
    assert own.precompute.shard_samples == 1024
