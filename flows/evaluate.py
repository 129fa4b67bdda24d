"""Flow `evaluate`: compares a student with its teacher in figures, pictures and a report."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace

from prefect import get_run_logger, unmapped
from prefect.futures import as_completed

from advkd.device import torch_device, torch_threads
from advkd.evaluation import (
    METRICS,
    REFERENCE_STAGE,
    REPORT,
    EvalReport,
    EvaluateSpec,
    EvaluationError,
    Piece,
    device_name,
    missing_pieces,
    protocols,
    worth_sentence,
)
from advkd.files import file_sha256, read_published
from advkd.runtime import progress
from advkd.students import fetched_student, student_files
from advkd.trajectories import cached_teacher
from flows.processes import FanOut, last_part, shard_runner, stage
from flows.recipe import Strict
from flows.tasks import DAY, Evaluation, compute_pieces, evaluate_student
from storage import StoreNotFoundError
from storage.objects import join
from storage.writing import CLAIMS, folder_claim

TASK_PASSES = 16_384
"""Network passes of a task at least."""


@stage("evaluate", timeout_seconds=30 * DAY, named=lambda told: last_part(told["spec"].out))
def evaluate(spec: Strict[EvaluateSpec], fan_out: FanOut | None = None) -> Evaluation:
    """Evaluates a student and writes its report, unless a report of the same evaluation exists.

    Args:
        spec: settings of the evaluation.
        fan_out: where the teacher's reference is computed, as in `precompute`: by default in threads.
    """
    with CLAIMS.turn(folder_claim(spec.out), get_run_logger().info, f"the report in {spec.out}"):
        kept = finished_report(spec)
        result = Evaluation(kept, evaluated=False, passes=0) if kept else _evaluated(spec, fan_out)
    already = "" if result.evaluated else "evaluated already: "
    get_run_logger().info(
        f"{already}{worth_sentence(result.report.worth, result.report.not_comparable)} {join(spec.out, REPORT)}"
    )
    return result


def _evaluated(spec: EvaluateSpec, fan_out: str | None) -> Evaluation:
    passes = _compute_reference(spec, fan_out)
    result = evaluate_student(spec)
    return replace(result, passes=result.passes + passes)


def _compute_reference(spec: EvaluateSpec, fan_out: str | None) -> int:
    """Computes most of the teacher's reference, together with other runs; returns the network passes of this one.

    The evaluation itself computes what is left, and all of it where that is little.
    """
    tasks, passes = list(_tasks(missing_pieces(spec))), 0
    if len(tasks) < 2:
        return passes
    total = sum(piece.passes for pieces in tasks for piece in pieces)
    get_run_logger().info(f"the curve of this teacher takes {total:,} network passes, once for all of its students")
    with (
        progress(get_run_logger().info) as report,
        torch_threads(1),
        shard_runner(fan_out, spec.device, os.cpu_count() or 1) as runner,
    ):
        for future in as_completed(runner.map(compute_pieces, {"spec": unmapped(spec), "pieces": tasks})):
            passes += future.result()
            report(REFERENCE_STAGE, passes, total)
    return passes


def _tasks(pieces: Sequence[Piece]) -> Iterator[tuple[Piece, ...]]:
    """Yields the pieces of each task, which takes about as long as a shard."""
    gathered: list[Piece] = []
    for piece in pieces:
        gathered.append(piece)
        if sum(one.passes for one in gathered) >= TASK_PASSES:
            yield tuple(gathered)
            gathered = []
    if gathered:
        yield tuple(gathered)


def finished_report(spec: EvaluateSpec) -> EvalReport | None:
    """Returns the report in `spec.out` if the same evaluation has written it, else None.

    The same evaluation has the same student, teacher, noises, grid and features, and was timed on the same processor.
    """
    try:
        report = EvalReport.from_json(read_published(spec.out, METRICS))
    except (StoreNotFoundError, EvaluationError):
        return None
    weights = file_sha256(student_files(fetched_student(spec.student)).weights)
    teacher = cached_teacher(spec.teacher, spec.device)
    measured = [
        (distances.extractor, distances.extractor_sha256, distances.real_sha256) for distances in report.distances
    ]
    compared = report.submodules[0].rmse_state.n_fake
    same = (
        (report.student_sha256, report.teacher_fingerprint) == (weights, teacher.fingerprint)
        and (report.samples, report.seed, report.classes) == (spec.samples, spec.seed, spec.classes)
        and compared == min(spec.samples, spec.trajectory_samples)
        and spec.solver_steps in (None, report.solver_steps)
        and measured == protocols(spec, teacher)
        and (report.cost.device, report.cost.threads) == (device_name(str(torch_device(spec.device))), spec.threads)
    )
    return report if same else None


if __name__ == "__main__":
    from flows.command import main

    main(evaluate)
