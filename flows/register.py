"""Flow `register`: registers an evaluated student as a new version of a model, if anything changed."""

from prefect import get_run_logger

from advkd.registry import DATABASE, RegisteredModel, RegisterSpec
from flows.processes import last_part, stage, tell_of_model
from flows.recipe import Strict
from flows.tasks import HOUR, register_student
from storage import join
from storage.writing import CLAIMS, folder_claim


@stage("register", timeout_seconds=HOUR, named=lambda told: last_part(told["spec"].out))
def register(spec: Strict[RegisterSpec]) -> RegisteredModel:
    """Registers a student; a student that is registered already keeps its version.

    Args:
        spec: student, report and registered model.
    """
    # One at a time per registry, because each is compared with the champion that the one before has left.
    with CLAIMS.turn(folder_claim(join(spec.runs, DATABASE)), get_run_logger().info, "a registration"):
        model = register_student(spec)
    tell_of_model(model)
    registered = "registered" if model.created else "was registered already"
    get_run_logger().info(f"{registered}: {model.name} version {model.version}, {model.alias} ({model.reason})")
    return model


if __name__ == "__main__":
    from flows.command import main

    main(register)
