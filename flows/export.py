"""Flow `export`: writes a student as ONNX for devices, with its cost card, unless the same export is there."""

from prefect import get_run_logger

from advkd.export import Export, ExportSpec
from flows.processes import last_part, stage
from flows.recipe import Strict
from flows.tasks import DAY, export_student
from storage.writing import CLAIMS, folder_claim


@stage("export", timeout_seconds=DAY, named=lambda told: last_part(told["spec"].out))
def export(spec: Strict[ExportSpec]) -> Export:
    """Exports a student in float32 and, if that is close enough, in 8 bits, beside its teacher's cost.

    Args:
        spec: student, teacher, and where to write to; a distillation decides on the precisions.
    """
    with CLAIMS.turn(folder_claim(spec.out), get_run_logger().info, f"the export in {spec.out}"):
        result = export_student(spec)
    logger = get_run_logger()
    if result.refused:
        logger.warning(f"not all was exported: {result.refused}")
    if result.uri:
        logger.info(f"{'exported' if result.exported else 'exported already'}: {result.uri}")
    return result


if __name__ == "__main__":
    from flows.command import main

    main(export)
