"""Checkpoints: whole or not at all, of this run or refused."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest
import torch

from advkd.students import StudentSpec
from advkd.training.checkpoint import CheckpointError, checkpoints, load_checkpoint, run_identity, save_checkpoint
from advkd.training.loop import train
from advkd.training.methods.table import build_method
from advkd.training.state import TrainState
from storage import open_store
from tests.advkd.conftest import tiny_train

FIRST_CHECKPOINT = 24


def stopped(store: str, out: Path, samples: int = FIRST_CHECKPOINT) -> None:
    """Trains until `samples` samples were seen, then stops as an interrupted caller does."""
    steps = train(tiny_train(), store, out)
    for step in steps:
        if step.samples >= samples:
            steps.close()


def fresh(store: str, **changes: object) -> TrainState:
    return build_method(tiny_train(**changes), open_store(store).manifest.spec).state


def test_a_checkpoint_holds_all_of_the_state(mixture_store: str, tmp_path: Path) -> None:
    stopped(mixture_store, tmp_path, samples=72)
    identity = run_identity(tiny_train(), open_store(mixture_store).manifest.digest)
    (newest,) = checkpoints(tmp_path)[-1:]
    state = fresh(mixture_store)
    cursor = load_checkpoint(newest, state, identity)
    assert (state.samples, state.adversarial_steps) == (72, 3)
    again = save_checkpoint(tmp_path / "copy", state, identity, cursor)
    names = sorted(path.name for path in newest.iterdir())
    assert sorted(path.name for path in again.iterdir()) == names
    for name in names:
        assert (again / name).read_bytes() == (newest / name).read_bytes(), name


def test_moments_lie_in_memory_as_their_weights_do(mixture_store: str, tmp_path: Path) -> None:
    """Fused Adam walks raw memory, so moments in another order would be those of other weights; Muon stacks them."""
    stopped(mixture_store, tmp_path, samples=72)
    state = fresh(mixture_store)
    identity = run_identity(tiny_train(), open_store(mixture_store).manifest.digest)
    load_checkpoint(checkpoints(tmp_path)[-1], state, identity)
    for optimizer in (state.student_optimizer, state.discriminator_optimizer):
        for weight, slots in optimizer.state.items():
            moments = [moment for moment in slots.values() if moment.shape == weight.shape]
            assert moments
            assert all(moment.stride() == weight.stride() for moment in moments)


def test_only_the_newest_two_are_kept(mixture_store: str, tmp_path: Path) -> None:
    list(train(tiny_train(), mixture_store, tmp_path))
    assert [int(path.name) for path in checkpoints(tmp_path)] == [72, 96]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "checkpoints", "monitors.jsonl", "student"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"student": StudentSpec(width=16, blocks=1)}, r"\(student\.width: 8 there, 16 here\)"),
        (
            {"student": StudentSpec(width=8, blocks=(1,)), "timesteps": (999, 0), "accumulate": 2},
            r"\(accumulate: 1 there, 2 here, student\.blocks: 1 there, \[1\] here, timesteps: None there, \[999",
        ),
        ({"seed": 1}, "seed: 0 there, 1 here"),
        ({"samples": 200}, "samples: 96 there, 200 here"),
        ({"precision": "bfloat16"}, "precision: 'float32' there, 'bfloat16' here"),
        ({"learning_rate": 2e-3, "warmup": 0.9}, "learning_rate: .*warmup: 0.5 there, 0.9 here"),
    ],
)
def test_a_run_with_other_settings_is_refused(
    mixture_store: str, tmp_path: Path, changes: dict[str, object], named: str
) -> None:
    stopped(mixture_store, tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in checkpoints(tmp_path)[-1].iterdir()}
    with pytest.raises(CheckpointError, match=f"a run goes on only with the settings it began with, .*{named}"):
        list(train(tiny_train(**changes), mixture_store, tmp_path))
    assert {path.name: path.stat().st_mtime_ns for path in checkpoints(tmp_path)[-1].iterdir()} == before


def test_a_run_on_another_store_is_refused(mixture_store: str, tmp_path: Path) -> None:
    from advkd.trajectories import precompute
    from tests.advkd.conftest import mixture_spec

    stopped(mixture_store, tmp_path / "run")
    other = precompute(mixture_spec(tmp_path / "stores", seed=5)).uri
    with pytest.raises(CheckpointError, match=r"\(store: '[0-9a-f]{64}' there, '[0-9a-f]{64}' here\)"):
        list(train(tiny_train(), other, tmp_path / "run"))


def test_where_and_how_often_may_change(mixture_store: str, tmp_path: Path) -> None:
    stopped(mixture_store, tmp_path)
    steps = list(train(tiny_train(checkpoint_every=1000, report_every=5), mixture_store, tmp_path))
    assert [step.samples for step in steps] == [40, 80, 96]


PARTS = ("student", "ema", "discriminator", "student_optimizer", "discriminator_optimizer", "randomness")


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_checkpoint_is_refused(mixture_store: str, tmp_path: Path, part: str, damage: str) -> None:
    stopped(mixture_store, tmp_path)
    path = checkpoints(tmp_path)[-1] / f"{part}.safetensors"
    data = path.read_bytes()
    path.unlink()
    if damage == "flip":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "truncate":
        path.write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match=f"must have their recorded size and sha256, got another {path.name}"):
        list(train(tiny_train(), mixture_store, tmp_path))


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"samples": 24}'])
def test_a_damaged_record_is_refused(mixture_store: str, tmp_path: Path, content: str) -> None:
    stopped(mixture_store, tmp_path)
    (checkpoints(tmp_path)[-1] / "state.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"a checkpoint's state\.json must be a JSON object .*remove that"):
        list(train(tiny_train(), mixture_store, tmp_path))


def test_tensors_of_another_architecture_are_refused(mixture_store: str, tmp_path: Path) -> None:
    """As after an upgrade that changed the networks: the files are intact, and the settings the same."""
    stopped(mixture_store, tmp_path)
    state = fresh(mixture_store, student=StudentSpec(width=8, blocks=2))
    identity = json.loads((checkpoints(tmp_path)[-1] / "state.json").read_text())["identity"]
    with pytest.raises(CheckpointError, match="tensors must be those of this student and discriminator"):
        load_checkpoint(checkpoints(tmp_path)[-1], state, identity)


def test_removing_a_damaged_checkpoint_goes_on_from_the_one_before(mixture_store: str, tmp_path: Path) -> None:
    stopped(mixture_store, tmp_path, samples=48)
    older, newer = checkpoints(tmp_path)
    shutil.rmtree(newer)
    assert next(iter(train(tiny_train(), mixture_store, tmp_path))).samples == 32
    assert older.is_dir()


def test_what_a_killed_run_leaves_behind_is_harmless(mixture_store: str, tmp_path: Path) -> None:
    """Killed while it wrote: a hidden folder, whole or not, that was never renamed."""
    stopped(mixture_store, tmp_path / "run", samples=48)
    older, newer = checkpoints(tmp_path / "run")
    newer.rename(newer.with_name(f".{newer.name}.12345"))
    half = newer.with_name(".000000000072.12345")
    half.mkdir()
    (half / "student.safetensors").write_bytes(b"half")
    (newer.parent / "000000000080").mkdir()  # Not even ours: a folder without a record is no checkpoint.
    assert checkpoints(tmp_path / "run") == [older]
    resumed = list(train(tiny_train(), mixture_store, tmp_path / "run"))
    whole = list(train(tiny_train(), mixture_store, tmp_path / "whole"))
    assert resumed[0].samples == 32
    assert resumed[-1].distillation == whole[-1].distillation


def test_a_run_that_is_killed_while_it_saves_goes_on(mixture_store: str, tmp_path: Path) -> None:
    """A real process that dies (os._exit) in the rename of its second checkpoint."""
    script = f"""
        import os
        from pathlib import Path
        from advkd.training.loop import train
        from tests.advkd.conftest import tiny_train

        rename, calls = Path.rename, []

        def dying(self, target):
            calls.append(target)
            if len(calls) == 2:
                os._exit(9)
            return rename(self, target)

        Path.rename = dying
        list(train(tiny_train(), {mixture_store!r}, Path({str(tmp_path)!r})))
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(script)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 9, done.stderr
    assert [int(path.name) for path in checkpoints(tmp_path)] == [FIRST_CHECKPOINT]
    assert [path.name for path in (tmp_path / "checkpoints").glob(".*")] != []
    assert next(iter(train(tiny_train(), mixture_store, tmp_path))).samples == FIRST_CHECKPOINT + 8


def test_a_full_disk_keeps_the_checkpoint_before(mixture_store: str, tmp_path: Path) -> None:
    """A real limit on file size stands for the disk: the error is clear, nothing half-written stays."""
    stopped(mixture_store, tmp_path)
    script = f"""
        import resource
        from pathlib import Path
        from advkd.training.loop import train
        from tests.advkd.conftest import tiny_train

        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            list(train(tiny_train(), {mixture_store!r}, Path({str(tmp_path)!r})))
        except OSError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(script)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.startswith("a checkpoint must be written whole, got "), done.stderr
    assert "free some space" in done.stdout
    assert [int(path.name) for path in checkpoints(tmp_path)] == [FIRST_CHECKPOINT]
    assert list((tmp_path / "checkpoints").glob(".*")) == []


def test_identity_survives_json() -> None:
    spec = tiny_train(submodule_weights=(1.0, 2.0))
    identity = run_identity(spec, "0" * 64)
    assert json.loads(json.dumps(identity)) == identity
    assert run_identity(replace(spec, device="cuda", report_every=3), "0" * 64) == identity


def test_saving_again_replaces(mixture_store: str, tmp_path: Path) -> None:
    state = fresh(mixture_store)
    one = save_checkpoint(tmp_path, state, {"store": "x"}, {})
    with torch.no_grad():
        state.student.stem.weight.zero_()
    two = save_checkpoint(tmp_path, state, {"store": "x"}, {})
    assert one == two
    restored = fresh(mixture_store)
    load_checkpoint(two, restored, {"store": "x"})
    assert not restored.student.stem.weight.any()
