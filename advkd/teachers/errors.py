"""What can be wrong with a teacher."""


class TeacherError(ValueError):
    """A teacher cannot be used; the message says what is wrong and how to fix it."""


class TeacherChangedError(TeacherError):
    """A teacher has changed since it was pinned or first read: it was replaced, or is being uploaded."""


class TeacherUnreachableError(TeacherError, ConnectionError):
    """A teacher could not be fetched; trying again later may help."""
