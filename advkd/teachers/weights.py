"""Chooses the weights of a network among the files of its folder: one variant, in one file or in shards with an index.

Looks at names, and at the index of shards. Uses no torch; pickles are named and never opened.

The order of preference: plain weights, then `fp16`, `bf16`, `non_ema`, then the only variant of another name.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from advkd.teachers.errors import TeacherError
from advkd.teachers.folder import read_json

STEM = "diffusion_pytorch_model"
SAFETENSORS, PICKLE = "safetensors", "bin"
_TRANSFORMERS, _TRANSFORMERS_STEMS = "text_encoder", {SAFETENSORS: "model", PICKLE: "pytorch_model"}
"""Text encoders are transformers', whose weights are named otherwise."""
_PREFERRED = (None, "fp16", "bf16", "non_ema")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_NAMED = 3


class WeightsError(TeacherError):
    """A network's weights are missing, in part or whole, or are pickles; its other files may be right."""


@dataclass(frozen=True)
class Weights:
    """The files of a network's weights.

    Attributes:
        variant: what their names say between dots, such as "fp16"; None if they are plain.
        names: the one file, or the index and then its shards.
    """

    variant: str | None
    names: tuple[str, ...]


def weights_of(folder: Path, names: Collection[str] | None = None, ending: str = SAFETENSORS) -> Weights:
    """Returns the weights that are loaded of a network's folder.

    Args:
        folder: local; holds the index, if the weights have one.
        names: of the files that the folder has, or will have once they are fetched; None: looks.
        ending: of the weights: "safetensors", or "bin" for what is going to be converted.

    Raises:
        WeightsError: no weights, pickles only, a missing shard, or variants among which there is no choice.
        TeacherError: the index is malformed.
    """
    if names is None:
        names = [path.name for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    forms = weight_forms(names, ending, stem_of(folder, ending))
    if not forms:
        raise _none(folder, names, ending)
    variant = _choose(folder, forms)
    main = forms[variant]
    return Weights(variant, (main, *_shards(folder, main, names, ending)) if is_index(main) else (main,))


def main_weights(folder: Path, names: Collection[str], ending: str = SAFETENSORS) -> str | None:
    """Returns the name of the weights' index or only file among those of a folder; None if there are no weights.

    Raises:
        WeightsError: variants among which there is no choice.
    """
    forms = weight_forms(names, ending, stem_of(folder, ending))
    return forms[_choose(folder, forms)] if forms else None


def is_index(name: str) -> bool:
    """Returns whether a file of weights is the index of its shards."""
    return name.endswith(".json")


def stem_of(folder: Path, ending: str = SAFETENSORS) -> str:
    """Returns how the weights in a part's folder are named."""
    return _TRANSFORMERS_STEMS[ending] if folder.name.startswith(_TRANSFORMERS) else STEM


def weight_forms(names: Collection[str], ending: str = SAFETENSORS, stem: str = STEM) -> dict[str | None, str]:
    """Returns the index or only file of each variant (None: plain); an index goes first, as in diffusers."""
    variant = r"(?:\.(?P<variant>\w+))?"
    forms: dict[str | None, str] = {}
    for pattern in (rf"{stem}{variant}\.{ending}", rf"{stem}\.{ending}\.index{variant}\.json"):
        matches = [match for name in sorted(names) if (match := re.fullmatch(pattern, name))]
        forms |= {match["variant"]: match.string for match in matches}
    return forms


def pickles_among(names: Collection[str]) -> list[str]:
    """Returns the names of files that are pickles by their ending, sorted."""
    return sorted(name for name in names if name.endswith(_PICKLES))


def only_pickles(folder: Path, names: Collection[str]) -> WeightsError:
    """Returns the error about a network whose weights are the pickles `names`."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return WeightsError(
        f"teacher weights must be safetensors, got only pickle files {sorted(names)[:_NAMED]}{more} in {folder}, "
        "which are never loaded; make a safetensors copy: `advkd teacher convert SOURCE --out FOLDER`"
    )


def _choose(folder: Path, forms: Mapping[str | None, str]) -> str | None:
    for variant in _PREFERRED:
        if variant in forms:
            return variant
    if len(forms) > 1:
        raise WeightsError(
            f"a teacher's weights must be plain, of a known variant ({', '.join(filter(None, _PREFERRED))}) or of only "
            f"one, got {sorted(forms.values())} in {folder}; keep one of them"
        )
    return next(iter(forms))


def _shards(folder: Path, index: str, names: Collection[str], ending: str) -> list[str]:
    weight_map = read_json(folder / index).get("weight_map")
    shards = sorted(set(map(str, weight_map.values()))) if isinstance(weight_map, dict) else []
    if not shards or not all(re.fullmatch(rf"[\w.-]+\.{ending}", shard) for shard in shards):
        raise TeacherError(
            f"an index of weights must map each tensor to a {ending} file beside it, got {shards[:_NAMED]} in "
            f"{folder / index}; save the pipeline again"
        )
    missing = [shard for shard in shards if shard not in names]
    if missing:
        raise WeightsError(
            f"all {len(shards)} shards of a teacher's weights must be there, got none of {missing[:_NAMED]} "
            f"({len(missing)} missing) in {folder}; copy them too, or save the pipeline again"
        )
    return shards


def _none(folder: Path, names: Collection[str], ending: str) -> WeightsError:
    pickles = pickles_among(names)
    if pickles and ending == SAFETENSORS:
        return only_pickles(folder, pickles)
    there = f", which holds {sorted(names)[: 2 * _NAMED]}" if names else ""
    return WeightsError(
        f"a teacher needs weights, got no {stem_of(folder, ending)}.{ending} in {folder}{there}; save the pipeline "
        f"again with safe_serialization={ending == SAFETENSORS}"
    )
