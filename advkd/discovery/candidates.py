"""Lists the places below a source where a teacher may be, from one listing and without reading any object."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from advkd.files import is_remote, listing_stamp
from advkd.teachers import HubId, hub_id
from storage.objects import ObjectInfo, join, list_objects

MARKER = "_SUCCESS"
"""Name of the object that marks an upload as complete, if it is no older than the folder's other objects."""
_INDEX = "model_index.json"
_IGNORED = (".", "_")
_HUB_SECONDS = 10.0


class SourceSkippedError(ValueError):
    """A source cannot be looked at now, without this being an error."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A place where a teacher may be.

    Attributes:
        place: absolute folder, URI, or hub id with its commit.
        stamp: value that changes with every upload, even of the same bytes.
        complete: whether the place itself says that its upload is complete.
    """

    place: str
    stamp: str
    complete: bool


def candidates(source: str) -> list[Candidate]:
    """Returns the folders directly below a source, or the source itself if it is a teacher; sorted by place.

    Args:
        source: local folder, URI of a prefix, or hub id (`owner/name`, `owner/name@revision`).

    Raises:
        SourceSkippedError: the source is empty so far, or the hub does not answer.
        StoreError: the source cannot be listed.
    """
    hub = hub_id(source)
    if hub is not None:
        return [_of_the_hub(hub)]
    root = source.rstrip("/") if is_remote(source) else str(Path(source).expanduser().resolve())
    listed = list_objects(root)
    if not listed:
        raise SourceSkippedError(
            f"a source must hold folders of teachers, got nothing at {root}; put one there, or check the spelling"
        )
    if any(entry.key == _INDEX for entry in listed):
        return [_candidate(root, listed)]
    folders: dict[str, list[ObjectInfo]] = defaultdict(list)
    for entry in listed:
        name, _, key = entry.key.partition("/")
        if key and not name.startswith(_IGNORED):
            folders[name].append(ObjectInfo(key=key, size=entry.size, modified=entry.modified))
    return [_candidate(join(root, name), folders[name]) for name in sorted(folders)]


def _candidate(place: str, listed: Sequence[ObjectInfo]) -> Candidate:
    marks = [entry.modified for entry in listed if entry.key == MARKER]
    complete = bool(marks) and marks[0] >= max(entry.modified for entry in listed)
    return Candidate(place=place, stamp=listing_stamp(listed), complete=complete)


def _of_the_hub(hub: HubId) -> Candidate:
    from huggingface_hub import HfApi

    try:
        commit = HfApi().model_info(hub.repository, revision=hub.revision, timeout=_HUB_SECONDS).sha
    except Exception as error:
        raise SourceSkippedError(
            f"a hub id is looked up in the hub, got {type(error).__name__} for {hub.repository!r}; check the name and "
            "the network, or give a local folder"
        ) from error
    # A commit is always complete.
    return Candidate(place=f"{hub.repository}@{commit}", stamp=str(commit), complete=True)
