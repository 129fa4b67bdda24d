"""The folder of a run: a local one, or one in an object store with a local copy that the run works on.

    <out>/checkpoints/<samples>/   <out>/student/   <out>/monitors.jsonl   <out>/run.claim (object stores only)

In an object store a checkpoint is published as soon as it is written, after its observations. So a run that is killed
at any instant can be continued on another machine as on this one.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from advkd.files import own_folder, publish, workplace
from advkd.training.checkpoint import CHECKPOINTS, KEEP, STATE, remove_older, saved_checkpoints
from advkd.training.observer import LOG
from storage import StoreNotFoundError, join, read_bytes, write_bytes
from storage.folders import clear_unfinished, fetch_folder, remove_published, unfinished_below
from storage.objects import local_folder
from storage.writing import CLAIMS, folder_claim

logger = logging.getLogger(__name__)


class RunFolder:
    """A run's output as a local folder."""

    def __init__(self, uri: str, path: Path) -> None:
        self.path = path
        self._uri = uri
        self._remote = local_folder(uri) is None

    def fetch(self) -> None:
        """Copies what a run needs to continue: its newest checkpoint, the records of older ones, and its observations.

        Raises:
            FolderDamagedError: a copied folder is damaged.
        """
        if not self._remote:
            return
        saved = saved_checkpoints(self._uri)
        for uri in saved:
            folder = self.path / CHECKPOINTS / uri.rpartition("/")[2]
            fetch_folder(uri, folder, None if uri == saved[-1] else {STATE})
        try:
            (self.path / LOG).write_bytes(read_bytes(join(self._uri, LOG)))
        except StoreNotFoundError:
            logger.debug("no observations yet in %s", self._uri)

    def publish_checkpoint(self, folder: Path) -> None:
        """Publishes a new checkpoint in the object store, and removes all but the newest ones.

        Raises:
            BlockingIOError: another run has taken this one's folder over.
            StoreError: the object store did not take it.
        """
        if not self._remote:
            return
        self._require_claim()
        self.publish_observations()
        publish(folder, join(self._uri, CHECKPOINTS, folder.name))
        self.remove_older()

    def remove_older(self) -> None:
        """Removes all checkpoints but the newest two: a killed run may have left one more."""
        if not self._remote:
            remove_older(self.path)
            return
        for old in saved_checkpoints(self._uri)[:-KEEP]:
            remove_published(old)

    def publish_student(self, folder: Path) -> None:
        """Publishes the student in the object store.

        Raises:
            BlockingIOError: another run has taken this one's folder over.
            StoreError: the object store did not take it.
        """
        if self._remote:
            self._require_claim()
            publish(folder, join(self._uri, folder.name))

    def publish_observations(self) -> None:
        """Publishes the observations so far in the object store."""
        if self._remote and (self.path / LOG).is_file():
            write_bytes(join(self._uri, LOG), (self.path / LOG).read_bytes())

    def _require_claim(self) -> None:
        if not CLAIMS.holds(run_claim(self._uri)):
            raise BlockingIOError(
                f"a run's folder belongs to one process at a time, got another that took {self._uri} over while this "
                "one stood still; let that one go on, or run the same again when it has ended"
            )


@contextmanager
def run_folder(uri: str, *, writes: bool) -> Iterator[RunFolder]:
    """Opens the folder of a run; if this process writes, no other run can write to the folder meanwhile.

    If another run is using the folder on disk, this is an error. In an object store, waits until the other run ends or
    its claim becomes void, because nothing else tells whether it is alive.

    Args:
        uri: URI of the folder.
        writes: whether this process is the one that writes.

    Raises:
        OSError: the folder cannot be created or written to, or another run is using it.
        StoreError: the object store does not answer, or accepts no writes.
        ValueError: the URI holds credentials.
    """
    with workplace(uri) as path:
        if not writes:
            yield RunFolder(uri, path)
        elif local_folder(uri) is not None:
            with own_folder(path):
                folder = RunFolder(uri, path)
                folder.remove_older()
                yield folder
        else:
            with CLAIMS.turn(run_claim(uri), logger.warning, f"the run in {uri}"):
                for begun in unfinished_below(uri):
                    clear_unfinished(begun)
                folder = RunFolder(uri, path)
                folder.remove_older()
                yield folder


def run_claim(uri: str) -> str:
    """Returns the URI of the claim on a run's folder: inside the folder, because the flow's claim lies beside it."""
    return folder_claim(join(uri, "run"))
