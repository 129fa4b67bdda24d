"""Flow `evaluate`: a student beside its teacher, in figures, pictures and a report."""

from advkd.evaluation.evaluate import EvalReport, EvaluateSpec
from prefect import flow, get_run_logger

from flows.tasks import evaluate_student


@flow(name="evaluate", persist_result=False)
def evaluate(spec: EvaluateSpec) -> EvalReport:
    """Evaluates a student and writes its report.

    Args:
        spec: which student, which teacher, and where the report goes.
    """
    report = evaluate_student(spec)
    get_run_logger().info(f"evaluated: one pass is worth {report.worth.steps:.1f} teacher steps; report in {spec.out}")
    return report


if __name__ == "__main__":
    from flows.command import main

    main(evaluate)
