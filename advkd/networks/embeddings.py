"""The embeddings of prompts, computed once: copies beside stores and students.

<root>/embeddings/<sha256>/   one for all stores of a root with these prompts and this text encoder
<student>/prompts/            a student's own, beside its weights; or prompts/ beside the student's folder

The sha256 is that of the facts, which hold the list's and the text encoder's: whoever needs these embeddings finds them
before anything is computed. Machines may differ in the last bits of what an encoder computes; the first one's stay.
"""

import json
import secrets
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advkd.files import file_sha256, publish, whole_folder, workplace
from advkd.networks.loading import NetworkError, load_network
from storage.care import embeddings_uri
from storage.folders import fetch_folder, read_contents
from storage.objects import join, local_folder, read_json
from storage.reading import default_cache_folder

if TYPE_CHECKING:
    from advkd.networks.stored_prompts import StoredPrompts

PROMPTS_FOLDER = "prompts"
WEIGHTS_SUM = "weights.sha256"
_CONFIG, _WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"


def keep_embeddings(root: str, conditions: Any) -> None:
    """Has the embeddings of a teacher's prompts be below a root of stores: takes those there, or puts its own.

    Conditions other than prompts have none.

    Raises:
        NetworkError: what is there is damaged. `ValueError`: they cannot be computed.
        OSError: they cannot be written. `StoreError`: the object store did not take them.
    """
    if not hasattr(conditions, "adopt"):
        return
    uri = embeddings_uri(root, conditions.facts)
    if _is_whole(uri):
        if not conditions.at_hand:
            conditions.adopt(load_embeddings(_local(uri, conditions.facts), conditions.facts))
        return
    with workplace(uri) as place:
        final = place if local_folder(uri) is not None else place / "new"
        final.parent.mkdir(parents=True, exist_ok=True)
        with whole_folder(final, "embeddings of prompts") as partial:
            conditions.table.save_pretrained(partial, safe_serialization=True, max_shard_size="1TB")
            (partial / WEIGHTS_SUM).write_text(file_sha256(partial / _WEIGHTS) + "\n", encoding="utf-8")
        publish(final, uri)


def kept_embeddings(store: str, facts: Mapping[str, Any] | None) -> Path | None:
    """Returns the local folder of the embeddings of a store's prompts; None for other conditions.

    Args:
        store: URI of the store, `<root>/<teacher>/<digest>`.
        facts: of its conditions.

    Raises:
        NetworkError: nobody put them there. `StoreError`: the object store did not give them.
    """
    if facts is None or facts.get("kind") != "prompts":
        return None
    uri = embeddings_uri(_root(store), facts)
    if not _is_whole(uri):
        raise NetworkError(
            f"a store of prompts needs their embeddings beside it, got none in {uri}; copy embeddings/ along with the "
            "store, or run the same precompute again, which puts it back"
        )
    return _local(uri, facts)


def kept_prompts(store: str, facts: Mapping[str, Any]) -> list[str]:
    """Returns the texts of a store's prompts; only those that its facts show if the list is not beside it."""
    uri = join(embeddings_uri(_root(store), facts), _CONFIG)
    try:
        texts = read_json(uri)["prompts"]
    except (OSError, ValueError, KeyError, TypeError):
        texts = facts["first"]
    return [str(text) for text in texts]


def load_embeddings(folder: Path, facts: Mapping[str, Any]) -> "StoredPrompts":
    """Loads embeddings from a folder.

    Raises:
        NetworkError: it holds none, other ones than the facts name, or damaged ones.
    """
    from advkd.networks.stored_prompts import StoredPrompts

    try:
        noted = (folder / WEIGHTS_SUM).read_text(encoding="utf-8").strip()
        same = noted == file_sha256(folder / _WEIGHTS)
        theirs = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))["conditioning"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NetworkError(
            f"embeddings of prompts must be whole, got {type(error).__name__} in {folder}; remove that folder and "
            "precompute again, which puts it back"
        ) from error
    if not same or dict(theirs) != dict(facts):
        what = "damaged ones" if not same else "those of other prompts or of another text encoder"
        raise NetworkError(
            f"embeddings must be those of the prompts that they are named after, got {what} in {folder}; remove that "
            "folder and precompute again, which puts it back"
        )
    table: StoredPrompts = load_network(StoredPrompts, folder)
    return table


def find_embeddings(places: Iterable[str], facts: Mapping[str, Any]) -> "StoredPrompts":
    """Loads embeddings from the first of some local folders that has any.

    Raises:
        NetworkError: none has, and the message names them all; or see `load_embeddings`.
    """
    folders = [Path(place) for place in places]
    for folder in folders:
        if (folder / _CONFIG).is_file():
            return load_embeddings(folder, facts)
    raise NetworkError(
        f"a student of prompts needs their embeddings, got none in {[str(folder) for folder in folders]}; copy "
        f"{embeddings_uri('', facts)[:24]}... from beside its store to the first of these"
    )


def adopt_embeddings(conditions: Any, folder: Path) -> None:
    """Gives conditions of prompts the embeddings of the student in a folder; other conditions have none.

    Raises:
        NetworkError: see `find_embeddings`.
    """
    if hasattr(conditions, "adopt"):
        conditions.adopt(find_embeddings(embeddings_places(folder), conditions.facts))


def embeddings_places(folder: Path) -> list[str]:
    """Returns where a student's embeddings may be: in its own folder, or beside it as in an artifact."""
    return [str(folder / PROMPTS_FOLDER), str(folder.parent / PROMPTS_FOLDER)]


def copy_embeddings(folder: Path, out: Path) -> None:
    """Copies embeddings into a new folder; raises `OSError`."""
    out.mkdir(parents=True, exist_ok=True)
    for name in (_CONFIG, _WEIGHTS, WEIGHTS_SUM):
        shutil.copyfile(folder / name, out / name)


def _is_whole(uri: str) -> bool:
    here = local_folder(uri)
    return (here / WEIGHTS_SUM).is_file() if here is not None else read_contents(uri) is not None


def _local(uri: str, facts: Mapping[str, Any]) -> Path:
    here = local_folder(uri)
    if here is not None:
        return here
    cached = Path(default_cache_folder()) / "embeddings" / uri.rpartition("/")[2]
    if not (cached / WEIGHTS_SUM).is_file():
        partial = cached.with_name(f".{secrets.token_hex(8)}")
        fetch_folder(uri, partial)
        try:
            partial.rename(cached)
        except OSError:
            # Another process was faster.
            shutil.rmtree(partial, ignore_errors=True)
    return cached


def _root(store: str) -> str:
    return store.rstrip("/").rpartition("/")[0].rpartition("/")[0] or "."
