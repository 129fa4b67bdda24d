"""A teacher out of an object store: into a folder that is named by its content, once per machine.

    <cache>/teachers/<fingerprint>/       model_index.json, scheduler/, unet/: JSON and safetensors, nothing else
    <cache>/teachers/seen/<sha256>.json   which fingerprint a prefix had when its listing was what it is

Everything in it may be deleted at any time. Pickles and code are never fetched.
"""

import hashlib
import json
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from advkd.teachers.base import TeacherChangedError, TeacherError
from advkd.teachers.folder import check_folder, folder_fingerprint
from storage.errors import StoreError, StoreNotFoundError
from storage.object_source import default_cache_folder
from storage.objects import ObjectInfo, join, list_objects, read_json, read_range, write_json

_PART_BYTES = 64 << 20
_FOLDERS = ("scheduler", "unet")


def download_teacher(uri: str, fingerprint: str | None = None) -> Path:
    """The teacher below a prefix as a local folder; fetched only where this machine has not got it.

    Args:
        uri: prefix of the diffusers folder.
        fingerprint: taken from the cache, unasked, if that teacher is there; whether what is fetched is that one, the
            caller finds out.

    Raises:
        TeacherError: no teacher; one that changes meanwhile is a `TeacherChangedError`.
        StoreError: the object store did not answer, or the cache cannot be written.
    """
    cache = Path(default_cache_folder()) / "teachers"
    if fingerprint is not None and (found := _intact(cache, fingerprint)):
        return found
    listed = list_objects(uri)
    seen = str(cache / "seen" / f"{_sha256(uri, listing_stamp(listed))}.json")
    if (known := _remembered(seen)) and fingerprint is None and (found := _intact(cache, known)):
        return found
    folder, content = _fetch(uri, listed, cache)
    write_json(seen, {"fingerprint": content})
    return folder


def listing_stamp(listed: Sequence[ObjectInfo]) -> str:
    """sha256 over names, sizes and times of objects: cheap, and another one after every upload."""
    facts = [[entry.key, entry.size, entry.modified] for entry in sorted(listed, key=lambda entry: entry.key)]
    return _sha256(json.dumps(facts))


def _intact(cache: Path, fingerprint: str) -> Path | None:
    """The cached teacher, if it is there and every byte of it is what was fetched."""
    folder = cache / fingerprint
    try:
        check_folder(folder)
        return folder if folder_fingerprint(folder) == fingerprint else None
    except (TeacherError, OSError):
        return None


def _remembered(seen: str) -> str | None:
    try:
        return str(read_json(seen)["fingerprint"])
    except (StoreError, KeyError, TypeError):
        return None


def _fetch(uri: str, listed: Sequence[ObjectInfo], cache: Path) -> tuple[Path, str]:
    partial = cache / f".{secrets.token_hex(8)}"
    try:
        partial.mkdir(parents=True)
        for entry in filter(_wanted, listed):
            _fetch_object(join(uri, entry.key), partial / entry.key, entry.size)
        # Whatever was read may be half of one teacher and half of another.
        if listing_stamp(list_objects(uri)) != listing_stamp(listed):
            raise _changed(uri)
        check_folder(partial)
        content = folder_fingerprint(partial)
        return _publish(partial, cache / content), content
    except TeacherError as error:
        raise type(error)(str(error).replace(str(partial), uri)) from error
    except StoreNotFoundError as error:
        raise _changed(uri) from error
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(
            f"the cache of teachers must be writable, got {error} for {cache}; free some space, or set ADVKD_CACHE"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _changed(uri: str) -> TeacherChangedError:
    return TeacherChangedError(
        f"a teacher must stay as it is while it is read, but {uri} changed meanwhile; wait until it is whole and run "
        "again"
    )


def _wanted(entry: ObjectInfo) -> bool:
    folder, _, name = entry.key.rpartition("/")
    return entry.key == "model_index.json" or (folder in _FOLDERS and name.endswith((".json", ".safetensors")))


def _fetch_object(uri: str, path: Path, size: int) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("xb") as file:
        for start in range(0, size, _PART_BYTES):
            file.write(read_range(uri, start, min(start + _PART_BYTES, size)))


def _publish(partial: Path, final: Path) -> Path:
    if final.exists() and not _intact(final.parent, final.name):
        damaged = final.with_name(f".{secrets.token_hex(8)}")
        final.rename(damaged)
        shutil.rmtree(damaged, ignore_errors=True)
    try:
        partial.rename(final)
    except OSError:
        # Another process may have been faster, with the same bytes.
        if not _intact(final.parent, final.name):
            raise
    return final


def _sha256(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
