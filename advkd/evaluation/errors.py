"""What cannot be evaluated or registered: the message says the rule, the fact and the remedy."""


class EvaluationError(ValueError):
    """A student, teacher or report that cannot be evaluated as asked."""
