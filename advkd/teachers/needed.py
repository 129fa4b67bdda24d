"""Which files of a remote teacher are fetched, in three steps: its index, its configs, one variant of its weights.

A teacher that nobody here supports, or whose configs rule it out, is refused before its weights are fetched.
"""

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from advkd.teachers.checkpoints import INDEX, no_pipeline
from advkd.teachers.families import family_of
from advkd.teachers.text_folder import TOKENIZER_FILES
from advkd.teachers.weights import (
    SAFETENSORS,
    STEM,
    WeightsError,
    main_weights,
    only_pickles,
    pickles_among,
    weights_of,
)

_ROOT_CONFIG = re.compile(r"(\w+_)?config\.json")
_INDEX_OF_SHARDS = re.compile(r".*\.index(\.\w+)?\.json")


def needed_files(folder: Path, names: Collection[str], ending: str = SAFETENSORS) -> list[str]:
    """Returns the names of the files to fetch next; none once all are there.

    Args:
        folder: local; holds what was fetched so far.
        names: of all files at the place, with slashes.
        ending: of weights: "safetensors", or "bin" for what is going to be converted.

    Raises:
        TeacherError: no pipeline, one of an unknown class, or one that its family refuses.
    """
    if INDEX not in names:
        raise no_pipeline(folder, names)
    if not (folder / INDEX).is_file():
        return [INDEX]
    family = family_of(folder)
    parts = [_names_of(part, names) for part in family.folders]
    if configs := _absent(folder, {name for part in parts for name in _configs(folder, part, ending)}):
        return configs
    weights = _absent(folder, {name for part in parts for name in _weights(folder, part, ending)})
    try:
        family.check(folder)
    except WeightsError:
        if not weights and ending == SAFETENSORS:
            _refuse_pickles(folder, parts)
            raise
    return weights


def configs_and_weights(folder: Path, names: Collection[str], ending: str) -> tuple[list[str], list[str]]:
    """Returns the names of a local teacher's files besides its index: JSON, and weights with their index of shards."""
    parts = [_names_of(part, names) for part in family_of(folder).folders]
    configs = {name for part in parts for name in _configs(folder, part, ending)}
    weights = {name for part in parts if part for name in _weights(folder, part, ending)}
    return sorted(configs), sorted(weights)


def _names_of(part: str, names: Collection[str]) -> list[str]:
    """The files right in a part's subfolder, or those at the root that may belong to it."""
    inside = [name for name in names if name.rpartition("/")[0] == part]
    if inside:
        return inside
    return [name for name in names if _ROOT_CONFIG.fullmatch(name) or ("/" not in name and name.startswith(STEM))]


def _configs(folder: Path, part: list[str], ending: str) -> list[str]:
    """JSON files and tokenizers', of the indexes of shards only the one of the chosen weights."""
    where, bases = _bases(part)
    main = main_weights(folder / where, bases, ending)
    wanted = [
        base for base in bases if base.endswith(".json") and (base == main or not _INDEX_OF_SHARDS.fullmatch(base))
    ]
    return [f"{where}{base}" for base in (*wanted, *_tokens(where, bases))]


def _tokens(where: str, bases: list[str]) -> list[str]:
    """What tokenizers have besides JSON."""
    return [base for base in bases if "tokenizer" in where and base in TOKENIZER_FILES and not base.endswith(".json")]


def _weights(folder: Path, part: list[str], ending: str) -> list[str]:
    where, bases = _bases(part)
    if main_weights(folder / where, bases, ending) is None:
        # Other names than those of diffusers' models are for the family to know.
        return [f"{where}{base}" for base in bases if base.endswith(f".{ending}")]
    return [f"{where}{base}" for base in weights_of(folder / where, bases, ending).names]


def _refuse_pickles(folder: Path, parts: Iterable[list[str]]) -> None:
    for where, bases in map(_bases, parts):
        if pickles := pickles_among(bases):
            raise only_pickles(folder / where, pickles) from None


def _bases(part: list[str]) -> tuple[str, list[str]]:
    """The folder of a part's files ("" or with a slash at its end), and their names in it."""
    where = part[0][: part[0].rfind("/") + 1] if part else ""
    return where, [name.removeprefix(where) for name in part]


def _absent(folder: Path, names: Collection[str]) -> list[str]:
    return sorted(name for name in names if not (folder / name).is_file())
