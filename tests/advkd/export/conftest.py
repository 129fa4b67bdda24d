from tests.advkd.evaluation.conftest import evaluated, gaussian

__all__ = ["evaluated", "gaussian"]
