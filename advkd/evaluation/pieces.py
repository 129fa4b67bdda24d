"""The pieces of a reference as work for others: a flow spreads them over threads or a cluster, as it does shards."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from advkd.device import torch_device
from advkd.evaluation.curve import Curve, curve_of
from advkd.evaluation.reference import kept_reference
from advkd.evaluation.solutions import Solutions
from advkd.evaluation.spec import EvaluateSpec
from advkd.features import chosen_features
from advkd.networks import adopt_embeddings
from advkd.students import fetched_student, student_files
from advkd.teachers import SolverSpec, load_teacher


@dataclass(frozen=True)
class Piece:
    """Some images of one solution of the teacher.

    Attributes:
        solver: the solver and its steps.
        number: of the piece.
        passes: network passes that it takes.
    """

    solver: SolverSpec
    number: int
    passes: int


def missing_pieces(spec: EvaluateSpec) -> list[Piece]:
    """Returns the pieces that an evaluation's references still need, the target's first; empty if all are kept.

    Raises:
        EvaluationError: see `evaluate`.
    """
    _solutions.cache_clear()
    curve, solutions = _solutions(spec)
    if not solutions.extractors:
        return []
    return [
        Piece(solver, number, solutions.piece_passes(solver, number))
        for solver in curve.solutions
        for number in solutions.missing(solver)
    ]


def share_piece(spec: EvaluateSpec, piece: Piece, told: Callable[[int], None] | None = None) -> bool:
    """Computes a piece unless it is there; returns False if another run is computing it.

    Args:
        spec: of the evaluation.
        piece: one of `missing_pieces`.
        told: called with the network passes since the last call.

    Raises:
        EvaluationError: a state of the teacher holds NaN.
    """
    _, solutions = _solutions(spec)
    return solutions.share(piece.solver, piece.number, told)


@lru_cache(maxsize=2)
def _solutions(spec: EvaluateSpec) -> tuple[Curve, Solutions]:
    """Loads the teacher once for all pieces of a process."""
    teacher = load_teacher(spec.teacher, str(torch_device(spec.device)))
    adopt_embeddings(teacher.conditions, student_files(fetched_student(spec.student)).config.parent)
    curve = curve_of(teacher)
    chosen = chosen_features(spec.features, teacher, weights=spec.weights, device=spec.device)
    kept = {one.name for one in chosen if kept_reference(teacher, curve, one, spec.references, spec.seed, spec.samples)}
    missing = tuple(extractor for extractor in chosen if extractor.name not in kept)
    solutions = Solutions(
        teacher=teacher, extractors=missing, root=spec.references, seed=spec.seed, samples=spec.samples
    )
    return curve, solutions
