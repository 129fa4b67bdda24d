"""Flow `train`: trains a student from a sealed store, in one or several processes of its own."""

import time
from dataclasses import dataclass

from prefect import get_run_logger

from advkd.students import is_student
from advkd.training import STUDENT_FOLDER, Processes, RunSpec, newest_record, run_identity
from flows.processes import ProcessCount, last_part, stage
from flows.recipe import Device, TrainingSpec, placed
from flows.tasks import train_student
from storage import join, open_store
from storage.writing import CLAIMS, folder_claim


@dataclass(frozen=True)
class StudentResult:
    """Folder of the student, whether this run trained it, on how many samples, and the wall time in seconds."""

    folder: str
    trained: bool
    samples: int
    seconds: float


@stage("train", named=lambda told: last_part(told["out"]))
def train(
    spec: TrainingSpec, store: str, out: str, processes: ProcessCount = 1, device: Device | None = None
) -> StudentResult:
    """Trains a student from a store; keeps a finished student, and continues an interrupted training.

    Args:
        spec: settings of the training run.
        store: URI of a sealed store.
        out: folder or URI for checkpoints and the student.
        processes: number of processes on this machine, one per GPU with device "cuda"; each computes its part of every
            batch.
        device: replaces the device in the spec.
    """
    began = time.monotonic()
    spec = placed(spec, device)
    Processes(count=processes).share(spec.batch_size)
    with CLAIMS.turn(folder_claim(out), get_run_logger().info, f"the student in {out}"):
        folder = finished_student(spec, store, out)
        trained, samples = folder is None, 0
        if folder is None:
            samples = spec.steps * spec.batch_size - samples_so_far(out)
            folder = train_student(spec, store, out, processes)
    result = StudentResult(folder, trained, samples, time.monotonic() - began)
    done = f"trained on {spec.samples} samples, {result.seconds:.0f} s" if trained else "was trained already"
    get_run_logger().info(f"student {done}: {folder}")
    return result


def samples_so_far(out: str) -> int:
    """Returns the number of samples of the newest checkpoint in `out`, 0 if there is none.

    Raises:
        CheckpointError: the newest checkpoint is damaged.
    """
    record = newest_record(out)
    return int(record["samples"]) if record else 0


def finished_student(spec: RunSpec, store: str, out: str) -> str | None:
    """Returns the student in `out` if a run with the same settings has finished it, else None.

    Raises:
        CheckpointError: the newest checkpoint is damaged.
    """
    student, record = join(out, STUDENT_FOLDER), newest_record(out)
    if record is None or not is_student(student):
        return None
    same = record["identity"] == run_identity(spec, open_store(store).manifest.digest)
    # A student may also be left from a run whose newest checkpoints were removed since.
    ended = record["samples"] == spec.steps * spec.batch_size
    return student if same and ended else None


if __name__ == "__main__":
    from flows.command import main
    from flows.processes import set_aside

    set_aside()
    main(train)
