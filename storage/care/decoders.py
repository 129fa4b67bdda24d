"""The autoencoders of a root of stores: where they lie, how they travel, and which ones no store names any more.

    <root>/decoders/<sha256>/   the autoencoder of all stores below the root whose space has this sha256

A store names its autoencoder in the facts of its space. Removing a store leaves the autoencoder, because others may
name it; `storage.care.garbage` collects those that none does.
"""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from storage.care.listing import list_stores
from storage.folders import fetch_folder, publish_folder, read_contents, remove_published
from storage.objects import ObjectInfo, join, list_folders, list_objects, local_folder
from storage.records import TrajectorySpec
from storage.writing import CLAIMS, folder_claim

DECODERS = "decoders"
_GOING = ".going-"
_COMING = ".coming-"


@dataclass(frozen=True)
class UnusedDecoder:
    """A kept autoencoder that no store of its root names; `since` is the time of its youngest file."""

    uri: str
    files: tuple[ObjectInfo, ...]
    since: float


def decoder_uri(root: str, sha256: str) -> str:
    """Returns where the autoencoder with this content is kept for the stores of a root."""
    return join(root or ".", DECODERS, sha256)


def decoder_of(spec: TrajectorySpec) -> str | None:
    """Returns the sha256 of the autoencoder that a store names, None if it names none."""
    space = spec.space or {}
    return str(space["sha256"]) if space.get("kind") == "autoencoder" and "sha256" in space else None


def is_kept(uri: str) -> bool:
    """Returns whether a kept autoencoder is there, whole."""
    here = local_folder(uri)
    return read_contents(uri) is not None if here is None else here.is_dir()


def carry_decoder(spec: TrajectorySpec, root: str, new_root: str) -> bool:
    """Copies a store's autoencoder from one root to another; returns whether it did.

    Nothing is copied if the store names none, the old root has lost it, or the new one has it.

    Raises:
        StoreError: the autoencoder cannot be read or written.
    """
    sha256 = decoder_of(spec)
    if sha256 is None:
        return False
    source, target = decoder_uri(root, sha256), decoder_uri(new_root, sha256)
    if is_kept(target) or not is_kept(source):
        return False
    with tempfile.TemporaryDirectory(prefix="advkd-") as scratch:
        folder = local_folder(source)
        if folder is None:
            folder = Path(scratch, sha256)
            fetch_folder(source, folder)
        here = local_folder(target)
        if here is None:
            publish_folder(folder, target)
        else:
            _copy_whole(folder, here)
    return True


def unused_decoders(root: str) -> Iterator[UnusedDecoder]:
    """Yields the autoencoders below a root that no store names.

    None while a store cannot be read, which may name any, nor one that a process is writing.
    """
    kept = {name for name in list_folders(join(root, DECODERS)) if is_kept(decoder_uri(root, name))}
    if not kept:
        return
    named = _named(root)
    if named is None:
        return
    for name in sorted(kept - named):
        uri = decoder_uri(root, name)
        files = tuple(list_objects(uri))
        if CLAIMS.holder(folder_claim(uri)) is None:
            yield UnusedDecoder(uri, files, max((file.modified for file in files), default=float("inf")))


def is_unused(uri: str) -> bool:
    """Returns whether still no store of its root names the autoencoder at a URI."""
    place, _, sha256 = uri.rpartition("/")
    named = _named(place.rpartition("/")[0] or ".")
    return named is not None and sha256 not in named


def remove_decoder(uri: str) -> None:
    """Removes a kept autoencoder; whoever looks meanwhile sees it whole or not at all."""
    here = local_folder(uri)
    if here is None:
        remove_published(uri)
        return
    going = here.with_name(f"{_GOING}{here.name}")
    shutil.rmtree(going, ignore_errors=True)
    here.rename(going)
    shutil.rmtree(going)


def _named(root: str) -> set[str] | None:
    """Returns what the stores of a root name; None if one of them cannot be read."""
    named = set()
    for store in list_stores(root):
        if store.spec is None:
            return None
        if (sha256 := decoder_of(store.spec)) is not None:
            named.add(sha256)
    return named


def _copy_whole(folder: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=_COMING, dir=target.parent))
    try:
        shutil.copytree(folder, partial, dirs_exist_ok=True)
        partial.chmod(0o755)
        try:
            partial.rename(target)
        except OSError:
            # Another process was faster with the same files.
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
