"""Teachers of the hub: decided on by their small files; only then the others that are needed, into the hub's cache."""

import glob
from collections.abc import Callable
from pathlib import Path
from typing import Any

from advkd.files import told
from advkd.teachers.checkpoints import INDEX
from advkd.teachers.errors import TeacherError, TeacherUnreachableError
from advkd.teachers.families import check_folder
from advkd.teachers.needed import needed_files
from advkd.teachers.weights import SAFETENSORS, WeightsError

_SECONDS = 10.0
_TOKEN_REFUSED = 401
_EXPIRED = (
    "but the hub refuses your token, which may have expired; log in again with `hf auth login`, or unset HF_TOKEN"
)
_REASONS = {
    "GatedRepoError": "which is gated: accept its terms on the hub, log in with `hf auth login`, and run again",
    "RepositoryNotFoundError": "which the hub does not have, or hides from you; check the spelling, or log in with "
    "`hf auth login`",
    "RevisionNotFoundError": "of which the hub has no such revision; check the branch, tag or commit",
}


def hub_folder(repository: str, revision: str | None, ending: str = SAFETENSORS) -> Path:
    """Returns the snapshot folder of a teacher, fetched as far as it is not cached; offline, what the cache has.

    Args:
        repository: `owner/name`.
        revision: branch, tag or commit; None: the main branch.
        ending: of the weights to fetch: "safetensors", or "bin" for what is going to be converted.

    Raises:
        TeacherError: no teacher of a known family, said before its weights are fetched.
        TeacherUnreachableError: the hub does not give it, and it is not cached whole.
    """
    place = f"{repository}@{revision}" if revision else repository
    try:
        # Falls back to the cache where there is no way to the hub.
        folder = _fetch(place, repository, revision, {INDEX: 0})
        sizes = _sizes(repository, folder.name)
        if sizes is None:
            return _cached(folder, place, ending)
        while names := [name for name in needed_files(folder, sizes, ending) if not (folder / name).exists()]:
            _fetch(place, repository, folder.name, {name: sizes[name] for name in names})
            if absent := [name for name in names if not (folder / name).exists()]:
                raise FileNotFoundError(f"no {absent[0]} came")
        return folder
    except TeacherError as error:
        raise type(error)(str(error).replace(str(folder), place)) from error
    except Exception as error:
        raise _unreachable(place, error) from error


def _fetch(place: str, repository: str, revision: str | None, sizes: dict[str, int]) -> Path:
    """Has files be in the cache and returns the snapshot's folder, which is named by the commit."""
    from huggingface_hub import snapshot_download

    with told(place, sizes) as arrived:
        names = [glob.escape(name) for name in sizes]
        return Path(
            snapshot_download(repository, revision=revision, allow_patterns=names, tqdm_class=_bar_class(arrived))
        )


def _sizes(repository: str, commit: str) -> dict[str, int] | None:
    """Bytes of a commit's files by name; None where there is no way to the hub."""
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(repository, revision=commit, files_metadata=True, timeout=_SECONDS)
    except Exception:
        return None
    return {file.rfilename: file.size or 0 for file in info.siblings or ()}


def _cached(folder: Path, place: str, ending: str) -> Path:
    """The snapshot that is there, if it is whole."""
    try:
        if ending == SAFETENSORS:
            check_folder(folder)
    except WeightsError as error:
        raise TeacherUnreachableError(
            f"a hub id must be reachable or cached whole, got {place!r}, of which this machine has only a part "
            f"({error}); run again with the network, or give a local folder"
        ) from error
    return folder


def _unreachable(place: str, error: Exception) -> TeacherUnreachableError:
    known = [_REASONS[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _REASONS]
    if _TOKEN_REFUSED in _codes(error):
        known = [_EXPIRED]
    if known:
        return TeacherUnreachableError(f"a hub id must be one that you may read, got {place!r}, {known[0]}")
    return TeacherUnreachableError(
        f"a hub id must be reachable or cached, got {place!r}, which could not be fetched "
        f"({type(error).__name__}); check the name and the network, or give a local folder"
    )


def _codes(error: BaseException | None) -> set[int]:
    """Returns the status codes of the answers that led to an error: the hub's client raises others from them."""
    codes = set()
    while error is not None:
        codes.add(getattr(getattr(error, "response", None), "status_code", 0))
        error = error.__cause__ or error.__context__
    return codes


def _bar_class(arrived: Callable[[int], None]) -> type:
    """A class of the hub's progress bars that shows nothing and passes bytes on."""
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            self._counts = options.get("name") == "huggingface_hub.snapshot_download"
            super().__init__(*args, **{**options, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> None:
            if self._counts:
                arrived(int(n or 0))

    return Bar
