"""Features of a teacher's solutions on the evaluation's noises: computed in pieces, shared, resumed, and kept.

A piece is the features of some hundred images of one solution. Pieces are computed under claims, so that threads,
processes and machines share the work, and a run that was ended goes on where it stopped. When all pieces of a solution
are there, they become one file with moments and the first features, and are removed.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from advkd.distances import Accumulator, FeatureSet, set_arrays, set_of_arrays
from advkd.evaluation.curve import solution_text
from advkd.evaluation.teacher_states import (
    EVALUATION_START,
    clean_timesteps,
    condition_facts,
    evaluation_part,
    teacher_states,
)
from advkd.features import Extractor, state_features
from advkd.files import content_digest, read_arrays, write_arrays
from advkd.teachers import SolverSpec, Teacher
from storage.objects import delete, exists, join
from storage.writing import CLAIMS, folder_claim

PIECE = 256
"""Images of a piece; fewer where their states are large."""
_PIECE_BYTES = 2**28
_LOOK_SECONDS = 0.5
Told = Callable[[int], None]
"""Called with the network passes since the last call."""


@dataclass(frozen=True, kw_only=True)
class Solutions:
    """Solutions of one teacher from the same noises.

    Attributes:
        teacher: the teacher.
        extractors: of the features.
        root: URI of the cache; files lie in `references/` below it.
        seed: base seed of the noises.
        samples: number of noises.
    """

    teacher: Teacher
    extractors: tuple[Extractor, ...]
    root: str
    seed: int
    samples: int

    def sets(self, solver: SolverSpec, told: Told | None = None) -> tuple[FeatureSet, ...]:
        """Returns the features of a solution, a set per extractor; computes what is missing, together with others.

        Raises:
            EvaluationError: a state of the teacher holds NaN.
        """
        return tuple(self._set(solver, extractor, told) for extractor in self.extractors)

    def missing(self, solver: SolverSpec) -> list[int]:
        """Returns the numbers of the pieces of a solution that are nowhere, for at least one extractor."""
        wanted = self._unfinished(solver)
        return [number for number in self.pieces if any(not exists(self._piece(solver, one, number)) for one in wanted)]

    def missing_passes(self, solver: SolverSpec) -> int:
        """Returns the network passes of the missing pieces of a solution."""
        return sum(self.piece_passes(solver, number) for number in self.missing(solver))

    def piece_passes(self, solver: SolverSpec, number: int) -> int:
        """Returns the network passes of a piece; under guidance, half of them."""
        return solver.steps * len(self._rows(number))

    @property
    def pieces(self) -> range:
        """Numbers of the pieces of each solution."""
        return range(-(-self.samples // self._rows_of_piece))

    @property
    def _rows_of_piece(self) -> int:
        sizes = (math.prod(shape) for shape in (self.teacher.space.shape, self.teacher.space.image_shape))
        return min(PIECE, max(8, _PIECE_BYTES // (4 * max(sizes))))

    def share(self, solver: SolverSpec, number: int, told: Told | None = None) -> bool:
        """Computes a piece unless it is there, or another run is computing it; returns whether it is there.

        Raises:
            EvaluationError: a state of the teacher holds NaN.
        """
        claim = folder_claim(join(self.root, "references", self._digest(solver, None, number)))
        if CLAIMS.take(claim) is not None:
            return False
        try:
            wanted = [one for one in self._unfinished(solver) if not exists(self._piece(solver, one, number))]
            if wanted:
                self._compute(solver, number, wanted, told)
        finally:
            CLAIMS.release(claim)
        return True

    def _compute(self, solver: SolverSpec, number: int, wanted: Sequence[Extractor], told: Told | None) -> None:
        rows = self._rows(number)
        start = evaluation_part(self.teacher, self.seed, rows)
        states = teacher_states(self.teacher, start, solver, clean_timesteps(self.teacher, solver), told)[-1]
        device = str(getattr(self.teacher, "device", "cpu"))
        for extractor in wanted:
            features = state_features(extractor, self.teacher.space, states, device)
            write_arrays(
                self._piece(solver, extractor, number),
                self._facts(solver, extractor, number),
                {"features": features.numpy().astype(np.float32)},
            )

    def _set(self, solver: SolverSpec, extractor: Extractor, told: Told | None) -> FeatureSet:
        """Returns a whole set. What is damaged is computed again."""
        file, facts = self._file(solver, extractor), self._facts(solver, extractor, None)
        while True:
            if exists(file):
                if (arrays := read_arrays(file, facts)) is not None:
                    return set_of_arrays(solution_text(solver), arrays)
                delete(file)
            while missing := self.missing(solver):
                if not any([self.share(solver, number, told) for number in missing]):
                    time.sleep(_LOOK_SECONDS)
            self._merge(solver, extractor)

    def _merge(self, solver: SolverSpec, extractor: Extractor) -> None:
        """Makes one file of the pieces of a set, unless another run has; a damaged piece is removed instead."""
        gathered, file = Accumulator(extractor.dims), self._file(solver, extractor)
        for number in self.pieces:
            piece = self._piece(solver, extractor, number)
            arrays = read_arrays(piece, self._facts(solver, extractor, number))
            if arrays is None:
                delete(piece)
                return
            gathered.add(torch.from_numpy(arrays["features"]))
        write_arrays(
            file, self._facts(solver, extractor, None), set_arrays(gathered.finished(solution_text(solver)), np.float16)
        )
        for number in self.pieces:
            delete(self._piece(solver, extractor, number))

    def _unfinished(self, solver: SolverSpec) -> list[Extractor]:
        return [extractor for extractor in self.extractors if not exists(self._file(solver, extractor))]

    def _rows(self, number: int) -> range:
        return range(number * self._rows_of_piece, min(self.samples, (number + 1) * self._rows_of_piece))

    def _file(self, solver: SolverSpec, extractor: Extractor) -> str:
        return join(self.root, "references", f"{self._digest(solver, extractor, None)}.npz")

    def _piece(self, solver: SolverSpec, extractor: Extractor, number: int) -> str:
        return join(self.root, "references", "pieces", f"{self._digest(solver, extractor, number)}.npz")

    def _digest(self, solver: SolverSpec, extractor: Extractor | None, number: int | None) -> str:
        return content_digest(self._facts(solver, extractor, number))

    def _facts(self, solver: SolverSpec, extractor: Extractor | None, number: int | None) -> dict[str, object]:
        facts = solution_facts(self.teacher, solver, extractor, self.seed, self.samples)
        return facts if number is None else {**facts, "piece": number, "of": self._rows_of_piece}


def solution_facts(
    teacher: Teacher, solver: SolverSpec, extractor: Extractor | None, seed: int, samples: int
) -> dict[str, object]:
    """Returns all that a solution's features depend on, as JSON."""
    return {
        "kind": "solution",
        "layout": 1,
        "teacher": teacher.fingerprint,
        "solver": solver.kind,
        "solver_config": teacher.solver_config(solver),
        "steps": solver.steps,
        "extractor": None if extractor is None else extractor.name,
        "extractor_sha256": None if extractor is None else extractor.sha256,
        "seed": seed,
        "first_index": EVALUATION_START,
        "samples": samples,
        **condition_facts(teacher),
    }
