"""Output at a URI: a local folder as it is, or one that is made here and published whole in an object store.

    with workplace(out) as folder:      # the folder itself, or scratch
        ...                             # writes files below it
        publish(folder / "student", join(out, "student"))

What is published is there whole or not at all (`storage.folders`), as a local folder is by its rename.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from advkd.files.places import refuse_credentials
from advkd.files.scratch import scratch_folder
from storage.folders import publish_folder, read_file
from storage.objects import join, local_folder, read_bytes


@contextmanager
def workplace(uri: str) -> Iterator[Path]:
    """The local folder at a URI; for one in an object store an empty one that is removed at the end.

    Messages of errors that leave it name the URI, wherever the files were made.

    Raises:
        ValueError: credentials in the URI.
        OSError: there is no room for scratch.
    """
    refuse_credentials(uri)
    here = local_folder(uri)
    if here is not None:
        yield here
        return
    with scratch_folder() as folder:
        try:
            yield folder
        except Exception as error:
            error.args = tuple(
                argument.replace(str(folder), uri.rstrip("/")) if isinstance(argument, str) else argument
                for argument in error.args
            )
            raise


def read_published(uri: str, name: str) -> bytes:
    """One file of a folder that is at a URI, wherever that is.

    Raises:
        StoreNotFoundError: no such folder, or one that is not whole.
        StoreError: the object store did not give it.
    """
    return read_file(uri, name) if local_folder(uri) is None else read_bytes(join(uri, name))


def publish(folder: Path, uri: str) -> None:
    """Has a folder of a workplace be at its URI, where a local one is already.

    Raises:
        StoreError: the object store did not take it.
    """
    if local_folder(uri) is None:
        publish_folder(folder, uri)
