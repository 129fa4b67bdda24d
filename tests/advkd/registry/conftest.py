from tests.advkd.evaluation.conftest import gaussian

__all__ = ["gaussian"]
