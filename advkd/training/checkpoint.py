"""Checkpoints: safetensors and JSON, written all or nothing, from which a run continues bit for bit.

In `<out>/checkpoints/000000020032/` (samples seen): `student`, `ema`, `discriminator`, `student_optimizer`,
`discriminator_optimizer` and `randomness`, each `.safetensors`; `state.json` with clock, specs, loader cursor, and
size and sha256 of each file.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from advkd.files import file_sha256, remove_folder, whole_folder
from advkd.training.run_spec import RunSpec
from advkd.training.state import TrainState
from storage.folders import CONTENTS
from storage.objects import join, list_prefix, local_folder, read_bytes

KEEP = 2
CHECKPOINTS = "checkpoints"
STATE = "state.json"
_PARTS = ("student", "ema", "discriminator", "student_optimizer", "discriminator_optimizer", "randomness")


class CheckpointError(ValueError):
    """A checkpoint belongs to another run, or is damaged."""


def run_identity(spec: RunSpec, store_digest: str) -> dict[str, Any]:
    """Returns what must be equal to continue a run: the store, and all settings except device, cache and intervals."""
    facts = asdict(spec)
    for name in ("device", "cache", "checkpoint_every", "report_every", "monitor_every"):
        del facts[name]
    facts["precision"] = spec.computed_precision
    # A JSON round trip makes a stored identity compare equal to a new one.
    return dict(json.loads(json.dumps({"store": store_digest, **facts})))


def save_checkpoint(out: Path, state: TrainState, identity: dict[str, Any], loader: dict[str, Any]) -> Path:
    """Writes a checkpoint folder under a temporary name, renames it, and removes all but the newest two.

    Raises:
        OSError: the checkpoint cannot be written; its unfinished files are removed, earlier checkpoints are kept.
    """
    final = out / CHECKPOINTS / f"{state.samples:012d}"
    with whole_folder(final, "a checkpoint") as partial:
        _write(partial, state, identity, loader)
    remove_older(out)
    return final


def remove_older(out: Path) -> None:
    """Removes all complete checkpoints but the newest two."""
    for old in checkpoints(out)[:-KEEP]:
        remove_folder(old)


def checkpoints(out: Path) -> list[Path]:
    """Returns the complete checkpoint folders, oldest first."""
    return sorted(path.parent for path in (out / CHECKPOINTS).glob("[0-9]*/" + STATE))


def saved_checkpoints(run: str) -> list[str]:
    """Returns the URIs of the complete checkpoints of a run, oldest first; the run may be local or remote."""
    here = local_folder(run)
    if here is not None:
        return [str(folder) for folder in checkpoints(here)]
    keys = (key.split("/") for key in list_prefix(join(run, CHECKPOINTS)))
    return [join(run, CHECKPOINTS, key[0]) for key in keys if key[0].isdigit() and key[1:] == [CONTENTS]]


def newest_record(run: str) -> dict[str, Any] | None:
    """Reads the record of a run's newest checkpoint, local or remote; returns None if there is no checkpoint.

    Raises:
        CheckpointError: the checkpoint is damaged.
    """
    for newest in saved_checkpoints(run)[-1:]:
        return parse_record(read_bytes(join(newest, STATE)), newest)
    return None


def record_beside(student: str) -> dict[str, Any] | None:
    """Reads the newest record of the run that a student belongs to, from the student's folder or the one above it.

    Raises:
        CheckpointError: the checkpoint is damaged.
    """
    here = local_folder(student)
    above = student.rstrip("/").rpartition("/")[0] if here is None else str(here.resolve().parent)
    return newest_record(student) or newest_record(above)


def parse_record(data: bytes, folder: str | Path) -> dict[str, Any]:
    """Parses a checkpoint's `state.json`: samples, adversarial_steps, identity, loader, files.

    Raises:
        CheckpointError: the record is truncated or something else.
    """
    try:
        record = json.loads(data)
    except ValueError:
        record = None
    expected = {"samples", "adversarial_steps", "identity", "loader", "files"}
    if not isinstance(record, dict) or set(record) != expected:
        raise CheckpointError(
            f"a checkpoint's {STATE} must be a JSON object with {sorted(expected)}, got something else in "
            f"{folder}; remove that checkpoint folder to go on from the one before"
        )
    return record


def load_checkpoint(folder: Path, state: TrainState, identity: dict[str, Any]) -> dict[str, Any]:
    """Restores `state` in place and returns the loader's cursor.

    Raises:
        CheckpointError: the checkpoint is damaged, or was saved by a run with other settings or another store; the
            message names what differs.
    """
    record = parse_record((folder / STATE).read_bytes(), folder)
    _check_identity(folder, record["identity"], identity)
    for name, facts in record["files"].items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != facts["bytes"] or file_sha256(path) != facts["sha256"]:
            raise CheckpointError(
                f"a checkpoint's files must have their recorded size and sha256, got another {name} in {folder}; "
                "remove that checkpoint folder to go on from the one before"
            )
    try:
        _restore(state, {name: load_file(folder / f"{name}.safetensors") for name in _PARTS})
    except (RuntimeError, ValueError, IndexError, KeyError, OSError) as error:
        raise CheckpointError(
            f"a checkpoint's tensors must be those of this student and discriminator, got others in {folder} "
            f"({str(error).splitlines()[0]}); go on with the release that saved it, or use another output folder"
        ) from error
    state.samples = record["samples"]
    state.adversarial_steps = record["adversarial_steps"]
    return dict(record["loader"])


def _write(folder: Path, state: TrainState, identity: dict[str, Any], loader: dict[str, Any]) -> None:
    files = {}
    for name, tensors in _tensors(state).items():
        path = folder / f"{name}.safetensors"
        save_file({key: value.contiguous() for key, value in tensors.items()}, path)
        files[path.name] = {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
    record = {
        "samples": state.samples,
        "adversarial_steps": state.adversarial_steps,
        "identity": identity,
        "loader": loader,
        "files": files,
    }
    (folder / STATE).write_text(json.dumps(record, indent=1))


def _restore(state: TrainState, parts: dict[str, dict[str, Tensor]]) -> None:
    state.student.load_state_dict(parts["student"])
    state.discriminator.load_state_dict(parts["discriminator"])
    state.ema.load_state_dict(parts["ema"])
    _restore_optimizer(state.student_optimizer, parts["student_optimizer"])
    _restore_optimizer(state.discriminator_optimizer, parts["discriminator_optimizer"])
    state.generator.set_state(parts["randomness"]["generator"])


def _tensors(state: TrainState) -> dict[str, dict[str, Tensor]]:
    return {
        "student": state.student.state_dict(),
        "ema": state.ema.state_dict(),
        "discriminator": state.discriminator.state_dict(),
        "student_optimizer": _optimizer_tensors(state.student_optimizer),
        "discriminator_optimizer": _optimizer_tensors(state.discriminator_optimizer),
        "randomness": {"generator": state.generator.get_state()},
    }


def _optimizer_tensors(optimizer: torch.optim.Optimizer | None) -> dict[str, Tensor]:
    if optimizer is None:
        return {}
    moments = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value for index, slots in moments.items() for name, value in slots.items()}


@torch.no_grad()
def _restore_optimizer(optimizer: torch.optim.Optimizer | None, tensors: dict[str, Tensor]) -> None:
    if optimizer is None:
        return
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        weight = weights[int(index)]
        # Fused Adam works on raw memory, so a moment needs the memory format of its weight, for instance channels-last.
        laid_out = torch.empty_like(weight).copy_(value) if value.shape == weight.shape else value
        moments.setdefault(int(index), {})[name] = laid_out
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})


def _check_identity(folder: Path, saved: dict[str, Any], asked: dict[str, Any]) -> None:
    there, here = _flat(saved), _flat(asked)
    differing = sorted(name for name in there.keys() | here.keys() if there.get(name) != here.get(name))
    if differing:
        facts = ", ".join(f"{name}: {there.get(name)!r} there, {here.get(name)!r} here" for name in differing)
        raise CheckpointError(
            f"a run goes on only with the settings it began with, got other ones than {folder} has ({facts}); "
            "give the same settings, or another output folder"
        )


def _flat(facts: dict[str, Any]) -> dict[str, Any]:
    """Flattens nested keys: `{"student": {"width": 8}}` becomes `{"student.width": 8}`."""
    flat: dict[str, Any] = {}
    for name, value in facts.items():
        inner = _flat(value) if isinstance(value, dict) else {"": value}
        flat |= {f"{name}.{key}".rstrip("."): leaf for key, leaf in inner.items()}
    return flat
