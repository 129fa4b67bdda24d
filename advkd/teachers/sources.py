"""Where a teacher is: an embedded name, a diffusers folder, the same below an object store's prefix, or a hub id.

A source may end in `#sha256=<fingerprint>`: then it is that teacher or an error, whatever its place holds by now.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from advkd.files import FolderKind, download_folder
from advkd.teachers.base import TeacherChangedError, TeacherError, TeacherUnreachableError
from advkd.teachers.families import check_folder, folder_fingerprint, is_wanted

_PIN = "#sha256="
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
HUB_FILES = ("*.json", "*.safetensors")


@dataclass(frozen=True)
class HubId:
    """A repository of the hub, and which revision of it: a branch, a tag or a commit; None: its main branch."""

    repository: str
    revision: str | None


def pinned(source: str, fingerprint: str) -> str:
    """The source, as that very teacher."""
    return f"{source}{_PIN}{fingerprint}"


def split_pin(source: str) -> tuple[str, str | None]:
    """A source without its fingerprint, and the fingerprint if it has one.

    Raises:
        TeacherError: what stands there is no fingerprint.
    """
    place, marker, fingerprint = source.partition(_PIN)
    if not marker:
        return source, None
    if not place or not _FINGERPRINT.fullmatch(fingerprint):
        raise TeacherError(
            f"a teacher is pinned by `SOURCE{_PIN}` and 64 hex digits, got {fingerprint!r}; copy its fingerprint whole"
        )
    return place, fingerprint


def is_remote(place: str) -> bool:
    """Whether it is the URI of an object store's prefix."""
    return "://" in place


def hub_id(place: str) -> HubId | None:
    """The hub id that a place is, unless there is a folder of that name."""
    repository, marker, revision = place.partition("@")
    looks_local = Path(place).is_absolute() or place.startswith(".") or Path(place).is_dir()
    if is_remote(place) or looks_local or not _HUB_ID.fullmatch(repository) or bool(marker) != bool(revision):
        return None
    return HubId(repository, revision or None)


def teacher_name(place: str) -> str:
    """What a teacher is called there, before it becomes a slug: its folder's name, or the hub's."""
    hub = hub_id(place)
    return hub.repository if hub else place.rstrip("/").rpartition("/")[2]


def refuse_credentials(uri: str) -> None:
    """Parameters and records are read by many: what opens a bucket has no place in a URI.

    Raises:
        ValueError: it has a user, a password or a query; the message does not repeat them.
    """
    if "://" not in uri:
        return
    parts = urlsplit(uri)
    if "@" in parts.netloc or parts.query:
        raise ValueError(
            f"a URI must not hold credentials or a query, got some in one below {parts.scheme}://; put credentials "
            "into the AWS variables or a profile"
        )


def resolve_source(place: str, fingerprint: str | None = None) -> Path:
    """The local folder of a teacher: the folder itself, or a copy (JSON and safetensors only) of what is elsewhere.

    Raises:
        TeacherError: neither a folder, nor a URI, nor a hub id that can be fetched.
        StoreError: the object store did not give it.
        ValueError: credentials in the URI.
    """
    if is_remote(place):
        refuse_credentials(place)
        return download_folder(_FOLDERS, place, fingerprint)
    if Path(place).is_dir():
        return Path(place)
    hub = hub_id(place)
    if hub is None:
        raise TeacherError(
            f"a teacher must be an embedded name, a folder, a URI or a hub id, got {place!r}, which is none of them; "
            "check the spelling or the path"
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub.repository, revision=hub.revision, allow_patterns=list(HUB_FILES)))
    except Exception as error:
        raise TeacherUnreachableError(
            f"a hub id must be reachable or cached, got {place!r}, which could not be fetched "
            f"({type(error).__name__}); check the name and the network, or give a local folder"
        ) from error


_FOLDERS = FolderKind(
    name="teachers",
    noun="a teacher",
    wanted=is_wanted,
    check=check_folder,
    fingerprint=folder_fingerprint,
    error=TeacherError,
    changed=TeacherChangedError,
)
