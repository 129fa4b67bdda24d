"""What identifies a store, and what a spec refuses."""

import dataclasses
import json
from typing import Any

import pytest

from storage import ManifestError, TrajectorySpec, default_shard_samples, digest, store_uri
from tests.storage.trajectories import make_spec


def test_json_round_trip_keeps_the_digest() -> None:
    spec = make_spec(conditioning={"label": [1, 2]}, guidance_scale=2)
    again = TrajectorySpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    assert digest(again) == digest(spec)


def test_the_digest_is_stable_across_releases() -> None:
    # A change here orphans every store there is: raise LAYOUT_VERSION and say so in the changelog.
    assert digest(make_spec()) == "cbb9d8cc184e5db718153a926356feb3acbcf682697866bdad12bd73cc4d5883"


def test_every_field_is_part_of_the_digest() -> None:
    changes: dict[str, Any] = {
        "teacher": "other",
        "fingerprint": "b" * 64,
        "sampler": "ddpm",
        "deterministic": False,
        "sampler_config": {"eta": 1.0},
        "solver_steps": 21,
        "timesteps": (998, 500, 0),
        "signal": (0.02, 0.5, 1.0),
        "sigma": (0.98, 0.8, 0.0),
        "sample_shape": (1, 4, 4),
        "base_seed": 8,
        "space": {"kind": "latents"},
        "conditioning": {"label": 1},
        "guidance_scale": 1.5,
        "dtype": "float32",
        "noise": "seeded",
        "resolutions": ((4, 4), (2, 2), (4, 4)),
        "uint8_ranges": (None, None, (-1.5, 1.5)),
        "layout": "webdataset",
        "shard_samples": 16,
        "block_samples": 8,
    }
    assert set(changes) == {field.name for field in dataclasses.fields(TrajectorySpec)}
    digests = {digest(make_spec(**{name: value})) for name, value in changes.items()} | {digest(make_spec())}
    assert len(digests) == len(changes) + 1


def test_a_spec_is_the_same_however_its_sequences_are_given() -> None:
    spec = make_spec(timesteps=[999, 500, 0], signal=[0.01, 0.5, 1], sampler_config={"clip_sample": False, "eta": 0.0})
    assert digest(spec) == digest(make_spec())


def test_the_store_lives_below_its_teacher() -> None:
    spec = make_spec()
    assert store_uri("/data/stores/", spec) == f"/data/stores/digits/{digest(spec)[:16]}"
    assert store_uri("s3://bucket", spec) == f"s3://bucket/digits/{digest(spec)[:16]}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"teacher": "Über/Teacher"}, "slug"),
        ({"teacher": ".."}, "slug"),
        ({"fingerprint": "abc"}, "sha256"),
        ({"sampler": ""}, "sampler"),
        ({"timesteps": (0, 5, 9)}, "strictly decreasing"),
        ({"timesteps": (999, 500, 500)}, "strictly decreasing"),
        ({"timesteps": (999, 500, 1)}, "end with 0"),
        ({"timesteps": (0,)}, "strictly decreasing"),
        ({"timesteps": (999.5, 500, 0)}, "whole numbers"),
        ({"signal": (0.1, 1.0)}, "signal"),
        ({"signal": (0.1, 0.5, 0.9)}, "signal"),
        ({"sigma": (0.9, float("nan"), 0.0)}, "sigma"),
        ({"sample_shape": (4, 4)}, "sample_shape"),
        ({"sample_shape": (0, 4, 4)}, "sample_shape"),
        ({"base_seed": -1}, "seed"),
        ({"solver_steps": 0}, "solver_steps"),
        ({"shard_samples": 0}, "shard_samples"),
        ({"block_samples": -4}, "block_samples"),
        ({"block_samples": 3}, "divide"),
        ({"dtype": "bfloat16"}, "dtype"),
        ({"layout": "hdf5"}, "layout"),
        ({"sampler_config": {"model": object()}}, "plain JSON"),
        ({"sampler_config": {"eta": float("nan")}}, "plain JSON"),
    ],
)
def test_a_bad_spec_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_spec(**change)


@pytest.mark.parametrize("change", [{"surprise": 1}, {"timesteps": [1, 2]}, {"teacher": 3}])
def test_a_stored_spec_that_is_not_one_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ManifestError):
        TrajectorySpec.from_json(make_spec().to_json() | change)
    with pytest.raises(ManifestError):
        TrajectorySpec.from_json([])


@pytest.mark.parametrize("num_samples", [0, -1])
def test_a_store_holds_at_least_one_sample(num_samples: int) -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        make_spec().num_shards(num_samples)


@pytest.mark.parametrize(("side", "expected"), [(32, 512), (128, 128), (256, 32)])
def test_default_shards_hold_at_most_about_64_mib_and_512_samples(side: int, expected: int) -> None:
    assert default_shard_samples(5 * 3 * side * side * 2) == expected
