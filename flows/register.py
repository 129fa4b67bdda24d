"""Flow `register`: an evaluated student into a new version of a registered model, if anything changed."""

from advkd.registry.tracking import RegisteredModel, RegisterSpec
from prefect import flow, get_run_logger

from flows.tasks import register_student


@flow(name="register", persist_result=False)
def register(spec: RegisterSpec) -> RegisteredModel:
    """Registers a student; what is registered already keeps its version.

    Args:
        spec: which student, its report, and the model it becomes a version of.
    """
    model = register_student(spec)
    get_run_logger().info(f"registered: {model.name} version {model.version}, alias {model.alias}")
    return model


if __name__ == "__main__":
    from flows.command import main

    main(register)
