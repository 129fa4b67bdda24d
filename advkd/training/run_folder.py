"""Where a run writes: a local folder, or one in an object store of which a local copy is worked on.

    <out>/checkpoints/<samples>/   <out>/student/   <out>/monitors.jsonl   <out>/run.claim (object stores only)

In an object store a checkpoint is published as soon as it is made, after the observations that belong to it, so that a
run which is killed at any instant goes on from there on another machine as it would on this one.
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
    """A run's output, as a local folder."""

    def __init__(self, uri: str, path: Path) -> None:
        self.path = path
        self._uri = uri
        self._remote = local_folder(uri) is None

    def fetch(self) -> None:
        """Copies what a run goes on from: its newest checkpoint, the records of older ones, and its observations.

        Raises:
            FolderDamagedError: one of them is damaged.
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
        """Keeps a checkpoint that was just made, and the newest others, in the object store.

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
        """Keeps the student in the object store.

        Raises:
            BlockingIOError: another run has taken this one's folder over.
            StoreError: the object store did not take it.
        """
        if self._remote:
            self._require_claim()
            publish(folder, join(self._uri, folder.name))

    def publish_observations(self) -> None:
        """Keeps the observations so far in the object store."""
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
    """The folder of a run, kept from other runs as long as this one writes.

    On disk another run at work in it is an error; in an object store it is waited for until it ends or falls silent,
    since nothing else tells whether it lives.

    Args:
        uri: of the folder.
        writes: whether this process is the one that does.

    Raises:
        OSError: it cannot be made or written to, or another run is at work in it.
        StoreError: the object store does not answer, or takes nothing.
        ValueError: credentials in the URI.
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
    """Where the claim on a run's folder lies: inside, as its flow holds the one beside it."""
    return folder_claim(join(uri, "run"))
