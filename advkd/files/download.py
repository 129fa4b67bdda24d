"""Downloads teachers and students from an object store into folders named by their content, once per machine.

    <cache>/<kind>/<fingerprint>/       JSON and safetensors, nothing else
    <cache>/<kind>/seen/<sha256>.json   fingerprint of a prefix whose listing has this hash

Everything in the cache may be deleted at any time. Pickles and code are never fetched.
"""

import hashlib
import json
import secrets
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from advkd.files.telling import told
from storage.errors import StoreError, StoreNotFoundError
from storage.folders import FolderContents, fetch_file, read_contents, unfinished_files
from storage.objects import ObjectInfo, join, list_objects, read_json, write_json
from storage.reading import default_cache_folder


@dataclass(frozen=True, kw_only=True)
class FolderKind:
    """A kind of folder: which files are fetched, and how the folder is checked."""

    name: str
    """Name of the folder in the cache, such as `teachers`."""
    noun: str
    """For messages: `a teacher`."""
    needed: Callable[[Path, Collection[str]], Collection[str]]
    """From what was fetched so far and the keys of all objects: the keys to fetch next, until all of them are there.

    No others are ever asked for. It may raise `error`, before anything large is fetched.
    """
    check: Callable[[Path], object]
    """Raises `error` if a folder is not of this kind."""
    fingerprint: Callable[[Path], str]
    """Returns the fingerprint of the fetched files."""
    error: type[ValueError]
    changed: type[ValueError]
    """Error if a folder changes while it is read; a subclass of `error`."""


def download_folder(kind: FolderKind, uri: str, fingerprint: str | None = None) -> Path:
    """Returns the local copy of a folder below a prefix; fetches it only if the cache does not hold it.

    Args:
        kind: kind of the folder.
        uri: URI of the prefix.
        fingerprint: expected fingerprint. If the cache holds it, the object store is not asked; if the folder is
            fetched, the caller must compare the fingerprints.

    Raises:
        kind.error: the folder is not of this kind, or (`kind.changed`) changed meanwhile.
        StoreError: the object store does not answer, or the cache cannot be written.
    """
    cache = Path(default_cache_folder()) / kind.name
    if fingerprint is not None and (folder := _intact(kind, cache, fingerprint)):
        return folder
    listed = list_objects(uri)
    seen = str(cache / "seen" / f"{_sha256(uri, listing_stamp(listed))}.json")
    if (known := _remembered(seen)) and fingerprint is None and (folder := _intact(kind, cache, known)):
        return folder
    folder, content = _fetch(kind, uri, listed, cache)
    write_json(seen, {"fingerprint": content})
    return folder


def listing_stamp(listed: Sequence[ObjectInfo]) -> str:
    """Returns the sha256 over names, sizes and times of objects, which is cheap and changes with every upload."""
    facts = [[entry.key, entry.size, entry.modified] for entry in sorted(listed, key=lambda entry: entry.key)]
    return _sha256(json.dumps(facts))


def _intact(kind: FolderKind, cache: Path, fingerprint: str) -> Path | None:
    """Returns the cached folder if it exists and holds exactly the fetched bytes."""
    folder = cache / fingerprint
    try:
        kind.check(folder)
        return folder if kind.fingerprint(folder) == fingerprint else None
    except (kind.error, OSError):
        return None


def _remembered(seen: str) -> str | None:
    try:
        return str(read_json(seen)["fingerprint"])
    except (StoreError, KeyError, TypeError):
        return None


def _whole(kind: FolderKind, uri: str) -> FolderContents | None:
    """Returns the contents of a published folder; None if the folder was uploaded by other means."""
    contents = read_contents(uri)
    if contents is None and unfinished_files(uri):
        raise _changed(kind, uri)
    return contents


def _fetch(kind: FolderKind, uri: str, listed: Sequence[ObjectInfo], cache: Path) -> tuple[Path, str]:
    partial = cache / f".{secrets.token_hex(8)}"
    try:
        partial.mkdir(parents=True)
        contents = _whole(kind, uri)
        sizes = {entry.key: entry.size for entry in listed}
        while keys := [key for key in kind.needed(partial, sizes) if not (partial / key).exists()]:
            with told(uri, {key: sizes[key] for key in keys}) as arrived:
                for key in keys:
                    sha256 = fetch_file(join(uri, key), partial / key, sizes[key], arrived)
                    if contents is not None and (key not in contents.files or contents.files[key].sha256 != sha256):
                        raise _changed(kind, uri)
        # Whatever was read may be half of one and half of another.
        if listing_stamp(list_objects(uri)) != listing_stamp(listed):
            raise _changed(kind, uri)
        kind.check(partial)
        content = kind.fingerprint(partial)
        return _publish(kind, partial, cache / content), content
    except kind.error as error:
        raise type(error)(str(error).replace(str(partial), uri)) from error
    except StoreNotFoundError as error:
        raise _changed(kind, uri) from error
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(
            f"the cache of {kind.name} must be writable, got {error} for {cache}; free some space, or set ADVKD_CACHE"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _changed(kind: FolderKind, uri: str) -> ValueError:
    return kind.changed(
        f"{kind.noun} must stay as it is while it is read, but {uri} changed meanwhile; wait until it is whole and run "
        "again"
    )


def _publish(kind: FolderKind, partial: Path, final: Path) -> Path:
    if final.exists() and not _intact(kind, final.parent, final.name):
        damaged = final.with_name(f".{secrets.token_hex(8)}")
        final.rename(damaged)
        shutil.rmtree(damaged, ignore_errors=True)
    try:
        partial.rename(final)
    except OSError:
        # Another process may have been faster; it has fetched the same bytes.
        if not _intact(kind, final.parent, final.name):
            raise
    return final


def _sha256(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
