"""The reference of a teacher is spread over tasks, as shards are, and shared with other runs."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from advkd.evaluation import EvaluateSpec, Piece, missing_pieces, share_piece
from advkd.teachers import EMBEDDED, SolverSpec
from flows.evaluate import TASK_PASSES, _tasks
from tests.advkd.evaluation.parts import gaussian_teacher, make_student


def test_a_task_takes_as_long_as_a_shard():
    pieces = [Piece(SolverSpec(kind="unipc", steps=steps), 0, 256 * steps) for steps in (100, 50, 20, 20, 20, 20, 1)]
    tasks = list(_tasks(pieces))
    assert [piece for task in tasks for piece in task] == pieces
    assert all(sum(piece.passes for piece in task) >= TASK_PASSES for task in tasks[:-1])
    assert [len(task) for task in tasks] == [1, 2, 4]
    assert list(_tasks([])) == []


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EvaluateSpec:
    teacher = gaussian_teacher()
    monkeypatch.setitem(EMBEDDED, "gaussian", lambda device: teacher)
    make_student(teacher).save_pretrained(tmp_path / "student")
    return EvaluateSpec(
        student=str(tmp_path / "student"),
        teacher="gaussian",
        out=str(tmp_path / "report"),
        references=str(tmp_path),
        features="digits",
        samples=16,
    )


def test_pieces_of_the_target_come_first_and_are_missing_until_they_are_computed(spec):
    pieces: Sequence[Piece] = missing_pieces(spec)
    assert pieces[0].solver == SolverSpec(kind="unipc", steps=100)
    assert len({(piece.solver, piece.number) for piece in pieces}) == len(pieces)
    few = [piece for piece in pieces if piece.solver.steps <= 2]
    for piece in few:
        assert share_piece(spec, piece)
    assert missing_pieces(spec) == [piece for piece in pieces if piece not in few]
