"""Flow `evaluate`: compares a student with its teacher in figures, pictures and a report."""

from prefect import get_run_logger

from advkd.device import torch_device
from advkd.evaluation import (
    METRICS,
    REPORT,
    EvalReport,
    EvaluateSpec,
    EvaluationError,
    device_name,
    protocols,
    worth_sentence,
)
from advkd.files import file_sha256, read_published
from advkd.students import fetched_student, student_files
from advkd.trajectories import cached_teacher
from flows.processes import stage
from flows.recipe import Strict
from flows.tasks import DAY, Evaluation, evaluate_student
from storage import StoreNotFoundError
from storage.objects import join
from storage.writing import CLAIMS, folder_claim


@stage("evaluate", timeout_seconds=DAY)
def evaluate(spec: Strict[EvaluateSpec]) -> Evaluation:
    """Evaluates a student and writes its report, unless a report of the same evaluation exists.

    Args:
        spec: settings of the evaluation.
    """
    with CLAIMS.turn(folder_claim(spec.out), get_run_logger().info, f"the report in {spec.out}"):
        kept = finished_report(spec)
        result = Evaluation(kept, evaluated=False, passes=0) if kept else evaluate_student(spec)
    already = "" if result.evaluated else "evaluated already: "
    get_run_logger().info(f"{already}{worth_sentence(result.report.worth)} {join(spec.out, REPORT)}")
    return result


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
        and (report.samples, report.seed) == (spec.samples, spec.seed)
        and compared == min(spec.samples, spec.trajectory_samples)
        and spec.solver_steps in (None, report.solver_steps)
        and measured == protocols(spec.features, spec.real, teacher)
        and (report.cost.device, report.cost.threads) == (device_name(str(torch_device(spec.device))), spec.threads)
    )
    return report if same else None


if __name__ == "__main__":
    from flows.command import main

    main(evaluate)
