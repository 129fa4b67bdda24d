"""Output at a URI: a local folder, or one that is made locally and published in an object store.

    with workplace(out) as folder:      # the folder itself, or scratch
        ...                             # writes files below it
        publish(folder / "student", join(out, "student"))

Folders are published all or nothing (`storage.folders`), as a rename does for local folders.
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
    """Yields the local folder at a URI; for a URI in an object store, an empty folder that is removed at the end.

    Errors that leave the block name the URI instead of the local folder.

    Raises:
        ValueError: the URI holds credentials.
        OSError: the temporary folder cannot be created.
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
    """Reads a file of a folder at a URI, local or in an object store.

    Raises:
        StoreNotFoundError: there is no such folder, or it is incomplete.
        StoreError: the object store does not return the file.
    """
    return read_file(uri, name) if local_folder(uri) is None else read_bytes(join(uri, name))


def publish(folder: Path, uri: str) -> None:
    """Publishes a folder of a workplace at its URI; a local folder is there already.

    Raises:
        StoreError: the object store refuses the folder.
    """
    if local_folder(uri) is None:
        publish_folder(folder, uri)
