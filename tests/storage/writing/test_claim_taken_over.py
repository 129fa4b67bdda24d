"""A holder that has not noticed yet that it was taken over gives back nothing."""

from pathlib import Path

from storage import delete, exists
from storage.writing.claims import Claims


def test_what_is_given_back_is_looked_at_first(tmp_path: Path) -> None:
    """Before any renewal, which would have noticed it."""
    uri = str(tmp_path / "claim.json")
    holder, next_holder, third = Claims(), Claims(), Claims()
    assert holder.take(uri) is None
    delete(uri)
    assert next_holder.take(uri) is None
    holder.release(uri)
    assert exists(uri)
    assert third.take(uri) is not None
    next_holder.release(uri)
    assert not exists(uri)
