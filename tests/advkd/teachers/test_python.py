"""A teacher in Python: the documented example, and what is no teacher."""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from advkd.cli.main import command_line
from advkd.diffusion import UNCONDITIONAL, Pixels, Start
from advkd.teachers import AUTO, NetworkTeacher, SolverSpec, TeacherError, load_teacher, micro_batch
from advkd.trajectories import PrecomputeSpec, precompute
from storage import open_store, verify
from tests.advkd.teachers.documented import documented_example


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    (tmp_path / "site" / "my_package").mkdir(parents=True)
    yield tmp_path / "site" / "my_package"
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        del sys.modules[name]


def test_the_documented_example_is_cached(package: Path, tmp_path: Path) -> None:
    example = documented_example()
    (package / "teacher.py").write_text(example)
    spec = PrecomputeSpec(
        teacher="my_package.teacher:small", store=str(tmp_path / "stores"), samples=8, block_samples=8,
        solver=SolverSpec(kind=AUTO, steps=8), captures=2,
    )  # fmt: skip
    result = precompute(spec)
    assert verify(result.uri) == []
    identity = open_store(result.uri).manifest.spec
    assert (identity.teacher, identity.sampler, identity.sample_shape) == ("small", "flow-euler", (3, 16, 16))
    assert len(example.splitlines()) <= 30
    shown = CliRunner().invoke(command_line(), ["teacher", "show", "my_package.teacher:small", "--json"])
    facts = json.loads(shown.stdout)
    assert (facts["name"], facts["files"], [kind for kind, _ in facts["solvers"]]) == (
        "small",
        [],
        ["flow-euler", "flow-heun"],
    )


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (None, r"must be an importable package\.module:factory, got 'my_package\.teacher:make'"),
        ("make = 3", "object is not callable"),
        ("other = print", r"got 'my_package\.teacher:make' \(module 'my_package\.teacher' has no attribute 'make'\)"),
        ("def make(device): return {}", "got a dict without name, fingerprint, space, .* from my_package"),
        ("name='Upper'", "name must be made of lower-case letters.* got 'Upper'"),
        ("fingerprint='1234'", "fingerprint must be a sha256 in 64 hex digits, got '1234'"),
        ("def make(): return 1", "must be called with a device alone, but .* does not take one"),
        ("def make(device): return 1 / 0", r"got ZeroDivisionError \(division by zero\) from my_package.teacher:make"),
        ("space=(1, 8, 8)", "space must have shape, .* got a tuple without shape, image_shape, facts, decode"),
        ("conditions=None", "conditions must have facts, draw, tensors .* got a NoneType without facts"),
        ("states=None", "states must be a method, got a NoneType"),
        ("space=Pixels((16, 16))", r"a shape \[C, H, W\] of positive numbers, got \(16, 16\)"),
    ],
)
def test_what_is_no_teacher_is_refused(package: Path, code: str | None, message: str) -> None:
    head = "from types import SimpleNamespace\nfrom advkd.diffusion import Pixels, UNCONDITIONAL\n"
    good = {
        "name": "'fine'", "fingerprint": "'a' * 64", "space": "Pixels((1, 8, 8))", "conditions": "UNCONDITIONAL",
        "grid": "print", "solver_config": "print", "states": "print",
    }  # fmt: skip
    if code is not None:
        name, _, value = code.partition("=")
        if name in good:
            fields = ", ".join(f"{key}={text}" for key, text in (good | {name: value}).items())
            code = f"def make(device): return SimpleNamespace({fields})"
        (package / "teacher.py").write_text(head + code)
    with pytest.raises(TeacherError, match=message):
        load_teacher("my_package.teacher:make")


class Odd(NetworkTeacher):
    """Predicts and yields what it is told to."""

    def __init__(self, predicted: Callable[[Tensor], object], yielded: Callable[[list[Tensor]], list[object]]) -> None:
        self.name, self.fingerprint = "odd", hashlib.sha256(repr((predicted, yielded)).encode()).hexdigest()
        self.space, self.conditions, self.device = Pixels((1, 8, 8)), UNCONDITIONAL, torch.device("cpu")
        self.scheduler = {"_class_name": "FlowMatchEulerDiscreteScheduler"}
        self.predicted, self.yielded = predicted, yielded

    def predict(self, state: Tensor, time: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        return self.predicted(state)  # type: ignore[return-value]

    def states(
        self, start: Start, solver: SolverSpec, labels: Sequence[int], seeds: Sequence[int] | None = None
    ) -> Iterator[Tensor]:
        yield from self.yielded(list(super().states(start, solver, labels, seeds)))  # type: ignore[misc]


def same(value: Any) -> Any:
    return value


@pytest.mark.parametrize(
    ("predicted", "yielded", "message"),
    [
        (lambda state: None, same, r"must predict a tensor like its states, \[1, 1, 8, 8\], .* got NoneType"),
        (lambda state: state[..., :4], same, r"got \[1, 1, 8, 4\]; correct its predict"),
        (lambda state: state[:, :0], same, r"got \[1, 0, 8, 8\]; correct its predict"),
        (same, lambda states: states[:1], "a state for each of the 2 labels, got 1 from 'odd'"),
        (same, lambda states: [state[..., :4] for state in states], r"tensors \[1, 1, 8, 8\], got \[1, 1, 8, 4\]"),
        (same, lambda states: [state.numpy() for state in states], "got ndarray from 'odd'"),
    ],
)
def test_what_is_no_state_is_refused_before_anything_is_computed(
    predicted: Callable[[Tensor], object], yielded: Callable[[list[Tensor]], list[object]], message: str
) -> None:
    with pytest.raises(TeacherError, match=message):
        micro_batch(Odd(predicted, yielded), SolverSpec(kind="flow-euler", steps=4), 8)
