"""Prompts as conditions: one of N texts for each sample, all equally likely.

The facts name the list by its sha256 and show its first ones, so that no identity grows with the list. The list itself
and the embeddings of its prompts are kept beside the stores (`advkd.networks.embeddings`), computed once.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from advkd.diffusion.prompt_facts import PROMPTS, prompt_shapes

if TYPE_CHECKING:
    from torch import Tensor

    from advkd.networks import StoredPrompts

_FIRST, _SHOWN = 8, 80
_KNOWN = {"kind", "count", "sha256", "first", "distribution", "pipeline", "encoder", "tensors"}


class Prompts:
    """Conditions `{"prompt": k}`, k in [0, N).

    Samples carry the number of their prompt; `embedded` turns numbers into what networks take.

    Attributes:
        facts: plain JSON: "kind", "count" and "sha256" of the list, its "first" prompts cut short, "distribution"
            "uniform", the class of "pipeline" that embeds them, the sha256 of its "encoder" files, and the shapes of
            the "tensors".
        count: N, at least 1.
    """

    def __init__(self, facts: Mapping[str, Any], make: "Callable[[], StoredPrompts] | None" = None) -> None:
        """Checks the facts.

        Args:
            facts: see above.
            make: makes the embeddings where none are adopted: what a teacher does with its text encoder.

        Raises:
            ValueError: the facts are of another kind or distribution, or lack something.
        """
        self.shapes = prompt_shapes(facts)
        count = facts.get("count")
        if set(facts) != _KNOWN or facts["distribution"] != "uniform" or not isinstance(count, int) or count < 1:
            raise ValueError(
                f'prompts must be described by {sorted(_KNOWN)}, with "distribution": "uniform" and a positive count, '
                f"got {str(dict(facts))[:200]}; precompute the store again"
            )
        self.facts: dict[str, Any] = {
            **facts,
            "first": list(facts["first"]),
            "tensors": {name: list(shape) for name, shape in self.shapes.items()},
        }
        self.count: int = count
        self._make, self._lock = make, Lock()
        self._table: StoredPrompts | None = None

    def draw(self, generator: np.random.Generator) -> dict[str, int]:
        """Draws the number of a prompt from the generator alone."""
        return {"prompt": int(generator.integers(self.count))}

    def tensors(self, rows: Sequence[Mapping[str, Any]]) -> "dict[str, Tensor]":
        """Returns the numbers of B prompts: `prompt`, int64 `[B]`."""
        import torch

        return {"prompt": torch.tensor([row["prompt"] for row in rows], dtype=torch.int64)}

    def adopt(self, table: "StoredPrompts") -> None:
        """Takes embeddings that were computed before.

        Raises:
            ValueError: they are of other prompts or of another encoder.
        """
        if dict(table.config.conditioning) != self.facts:
            raise ValueError(
                "embeddings must be of the prompts and the text encoder that the facts name, got others; remove that "
                "folder and precompute again"
            )
        self._table = table

    @property
    def at_hand(self) -> bool:
        """Whether the embeddings are there without a text encoder."""
        return self._table is not None

    @property
    def table(self) -> "StoredPrompts":
        """The embeddings, computed at the first call where none were adopted.

        Raises:
            ValueError: there are none, and nothing that computes them.
        """
        with self._lock:
            if self._table is None:
                if self._make is None:
                    raise ValueError(
                        f"prompts must be embedded before networks take them, got no embeddings of the "
                        f"{self.count} prompts {self.facts['sha256'][:12]}; say where their folder is"
                    )
                self._table = self._make()
            return self._table

    def embedded(self, condition: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
        """Returns what networks take of B samples: the embeddings of their prompts, `[B, ...]`, on their device.

        Raises:
            ValueError: see `table`.
        """
        numbers = condition["prompt"]
        rows = self.table.rows(numbers.cpu())
        return {name: values.to(numbers.device) for name, values in rows.items()}


def prompts_sha256(prompts: Sequence[str]) -> str:
    """Returns the sha256 of a list of prompts, one on each line."""
    return hashlib.sha256("".join(f"{prompt}\n" for prompt in prompts).encode()).hexdigest()


def prompts_facts(
    prompts: Sequence[str], *, pipeline: str, encoder: str, tensors: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """Returns the facts of a list of prompts; see `Prompts`."""
    return {
        "kind": PROMPTS,
        "count": len(prompts),
        "sha256": prompts_sha256(prompts),
        "first": [cut(prompt) for prompt in prompts[:_FIRST]],
        "distribution": "uniform",
        "pipeline": pipeline,
        "encoder": encoder,
        "tensors": {name: list(shape) for name, shape in tensors.items()},
    }


def cut(prompt: str) -> str:
    """Returns a prompt as lists show it: its beginning, if it is long."""
    return prompt if len(prompt) <= _SHOWN else f"{prompt[: _SHOWN - 3]}..."
