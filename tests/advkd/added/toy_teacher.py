"""A teacher as nobody has it here: flow matching, classes, latents and a solver of its own, each a row of its table.

Data are points: every image of a class is the same, so the straight line from noise to it is the exact trajectory.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import toy_rows
from diffusers.configuration_utils import register_to_config
from torch import nn

from advkd.diffusion import Start, TimeGrid, conditions_of, space_of
from advkd.teachers import Solver, TeacherError
from advkd.training import MethodRow, RunSpec

LATENT, NAMES = (1, 8, 8), ("dark", "grey", "bright")


class Labels:
    """A class per sample, drawn evenly."""

    def __init__(self, facts: Any) -> None:
        self.facts = dict(facts)

    def draw(self, generator: Any) -> dict[str, int]:
        return {"label": int(generator.integers(len(self.facts["names"])))}

    def tensors(self, rows: Any) -> dict[str, torch.Tensor]:
        return {"class_labels": torch.tensor([row["label"] for row in rows])}


class Halves:
    """Latents are images at half the side and a tenth of the scale."""

    def __init__(self, facts: Any, shape: Any) -> None:
        self.facts, self.shape = dict(facts), tuple(shape)
        self.image_shape = (shape[0], 2 * shape[1], 2 * shape[2])

    def decode(self, states: torch.Tensor) -> torch.Tensor:
        return states.repeat_interleave(2, -1).repeat_interleave(2, -2) * self.facts["scale"]


def no_scheduler(*_: Any) -> Any:
    raise ValueError("a straight line needs no scheduler")


euler = Solver(deterministic=True, build=no_scheduler, grid=no_scheduler)


class ToyTeacher:
    """`x_t = (1 - t) x_0 + t eps`; state k of `steps` has the real time k / steps."""

    def __init__(self, folder: Path, name: str | None) -> None:
        config = (folder / "toy" / "config.json").read_bytes()
        self.name, self.fingerprint = name or "toy", hashlib.sha256(config).hexdigest()
        self.means = torch.tensor(json.loads(config)["means"])
        self.space = space_of({"kind": "toy-halves", "scale": 10.0}, LATENT)
        self.conditions = conditions_of({"kind": "toy-labels", "names": list(NAMES)})

    def grid(self, solver: Any) -> TimeGrid:
        if solver.kind != "toy-euler":
            raise ValueError(f"a toy teacher must be solved by toy-euler, got {solver.kind!r}; say --solver toy-euler")
        labels = tuple(range(solver.steps, -1, -1))
        return TimeGrid(labels, tuple(1 - k / solver.steps for k in labels), tuple(k / solver.steps for k in labels))

    def solver_config(self, solver: Any) -> dict[str, Any]:
        return {"class": "ToyEuler", "steps": solver.steps}

    def states(self, start: Start, solver: Any, labels: Any, seeds: Any = None) -> Any:
        clean = self.means[start.condition["class_labels"]].view(-1, 1, 1, 1).expand(start.noise.shape)
        for label in labels:
            time = label / solver.steps
            yield (1 - time) * clean + time * start.noise


class ToyFamily:
    """The row of `ToyPipeline`."""

    folders = ("toy",)

    def check(self, folder: Path) -> None:
        if not (folder / "toy" / "config.json").is_file():
            raise TeacherError(f"a toy teacher must have toy/config.json, got none in {folder}; write one")

    def deciding_files(self, folder: Path) -> list[Path]:
        return [folder / "toy" / "config.json"]

    def load(self, folder: Path, name: str | None, device: str) -> ToyTeacher:
        self.check(folder)
        return ToyTeacher(folder, name)


family = ToyFamily()


class LabelStudent(toy_rows.ToyStudent):
    """A clean latent for every label, whatever the noise."""

    @register_to_config
    def __init__(
        self, sample_shape: Any, timesteps: Any, signal: Any, sigma: Any, space: Any, conditioning: Any
    ) -> None:
        toy_rows.ToyStudent.__init__.__wrapped__(self, sample_shape, timesteps, signal, sigma)
        self.clean = nn.Embedding(len(conditioning["names"]), 1)

    def predictions(self, noise: Any, class_labels: Any) -> list[torch.Tensor]:
        clean = self(noise, class_labels)
        pairs = zip(self.coefficients.skip, self.coefficients.gain, strict=True)
        return [skip * noise + gain * clean for skip, gain in pairs]

    def forward(self, noise: Any, class_labels: Any) -> torch.Tensor:
        return self.clean(class_labels).view(-1, 1, 1, 1).expand(noise.shape) + 0 * self.conv(noise)


@dataclass(frozen=True, kw_only=True)
class LabelSpec(RunSpec):
    method: Literal["toy-labels"] = "toy-labels"
    optimizer: toy_rows.ToyPart = field(default_factory=lambda: toy_rows.ToyPart(rate=0.5))


class LabelMethod(toy_rows.ToyMethod):
    """Least squares to the clean latent, with the label as input."""

    def student(self, grid: dict[str, Any]) -> LabelStudent:
        return LabelStudent(**grid, space=self.store.space, conditioning=self.store.conditioning)

    def clean(self, batch: Any) -> torch.Tensor:
        return self.state.student(batch.noise, **batch.condition)


labels = MethodRow(LabelSpec, LabelMethod)
