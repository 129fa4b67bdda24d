"""Where deployments are declared, and the folder in which their runs work.

In a clone both are the clone's, so that `make deploy` may be called from anywhere. An installed package brings its own
copy of `prefect.yaml`; its runs work in the folder where `python -m flows.deploy` was called.
"""

from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2]
_IN_PACKAGE = Path(__file__).parents[1] / "prefect.yaml"


def is_clone() -> bool:
    """Returns whether this package is run from a clone."""
    return (_CHECKOUT / "prefect.yaml").is_file() and (_CHECKOUT / "pyproject.toml").is_file()


def declaration() -> Path:
    """Returns the file that declares the deployments."""
    return _CHECKOUT / "prefect.yaml" if is_clone() else _IN_PACKAGE


def working_folder() -> Path:
    """Returns the folder in which runs of deployments work: relative paths in their parameters begin there."""
    return _CHECKOUT if is_clone() else Path.cwd()


def how_to_deploy() -> str:
    """Returns the command that deploys, for messages."""
    return "make deploy" if is_clone() else "python -m flows.deploy"
