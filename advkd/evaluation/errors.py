"""The error of this room and of registration; its messages state rule, fact and remedy."""


class EvaluationError(ValueError):
    """A student or teacher cannot be evaluated as requested, or a report cannot be used."""
