"""Folders of autoencoders, known by their content: which classes there are, their facts, their copies.

Looks at files alone and uses no torch. Two folders with the same config and the same weights are the same autoencoder,
whatever they are called and whoever saved them.
"""

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from advkd.files import file_sha256
from advkd.networks.loading import NetworkError

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
_VARIANTS = (None, "fp16", "bf16", "non_ema")


def _blocks(config: Mapping[str, Any]) -> int:
    return int(2 ** (len(config["block_out_channels"]) - 1))


def _tiny(config: Mapping[str, Any]) -> int:
    return int(config.get("upsampling_scaling_factor", 2) ** (len(config["num_decoder_blocks"]) - 1))


def _deep(config: Mapping[str, Any]) -> int:
    return int(2 ** (len(config["encoder_block_out_channels"]) - 1))


AUTOENCODERS: Mapping[str, Callable[[Mapping[str, Any]], int]] = {
    "AutoencoderDC": _deep,
    "AutoencoderKL": _blocks,
    "VQModel": _blocks,
    "AutoencoderTiny": _tiny,
}
"""diffusers' classes that decode, and by how much their config enlarges; no other is ever built."""


def read_autoencoder(folder: Path) -> dict[str, Any]:
    """Returns the config of an autoencoder's folder, whose weights may yet be missing.

    Raises:
        NetworkError: there is no folder, its class is none of `AUTOENCODERS`, or its config does not say the scaling
            factor.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NetworkError(
            f"latents are decoded by an autoencoder with a {CONFIG}, got {type(error).__name__} for {folder / CONFIG}; "
            "save the pipeline with its autoencoder"
        ) from error
    name = config.get("_class_name") if isinstance(config, dict) else None
    if name not in AUTOENCODERS:
        raise NetworkError(
            f"an autoencoder must be one of {sorted(AUTOENCODERS)}, got {name!r} in {folder}; choose another teacher"
        )
    scaling = config.get("scaling_factor")
    if not isinstance(scaling, int | float) or not (0 < scaling < math.inf):
        raise NetworkError(
            f"an autoencoder must say its scaling_factor, got {scaling!r} in {folder / CONFIG}; write the one there "
            "that the teacher was trained with (diffusers would silently take its class's default)"
        )
    return dict(config)


def autoencoder_facts(folder: Path, shape: Sequence[int]) -> dict[str, Any]:
    """Returns, as plain JSON, all that decides how an autoencoder decodes.

    Args:
        folder: of the autoencoder.
        shape: `[C, H, W]` of the states.

    Raises:
        NetworkError: see `read_autoencoder`; or it has no safetensors, or decodes another number of channels.
    """
    config = read_autoencoder(folder)
    channels, height, width = shape
    if config.get("latent_channels") != channels:
        raise NetworkError(
            f"an autoencoder must decode the teacher's states, got latent_channels {config.get('latent_channels')!r} "
            f"in {folder} for states with {channels} channels; save the pipeline with its own autoencoder"
        )
    try:
        factor = AUTOENCODERS[config["_class_name"]](config)
        image_shape = [int(config.get("out_channels") or config["in_channels"]), factor * height, factor * width]
    except (KeyError, TypeError) as error:
        raise NetworkError(
            f"an autoencoder's config must be whole, got {error!r} in {folder / CONFIG}; save the pipeline again"
        ) from error
    return {
        "kind": "autoencoder",
        "class": config["_class_name"],
        "scaling_factor": float(config["scaling_factor"]),
        "shift_factor": float(config.get("shift_factor") or 0.0),
        "image_shape": image_shape,
        "sha256": autoencoder_sha256(folder),
    }


def autoencoder_sha256(folder: Path) -> str:
    """Returns the sha256 over config and weights; the notes that diffusers leaves in a config do not count.

    Weights in shards have another sha256 than the same in one file.
    """
    weights = "\n".join(file_sha256(file) for file in _weights(folder))
    return hashlib.sha256(f"{_plain_config(folder)}\n{weights}\n".encode()).hexdigest()


def copy_autoencoder(folder: Path, out: Path) -> None:
    """Copies an autoencoder into a folder, under the names that diffusers looks for first.

    Raises:
        OSError: it cannot be read or written.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / CONFIG).write_text(_plain_config(folder) + "\n", encoding="utf-8")
    files, variant = _weights(folder), autoencoder_variant(folder)
    if len(files) == 1:
        shutil.copyfile(files[0], out / WEIGHTS)
        return
    # The index names the shards, so they keep their names.
    for file in files:
        shutil.copyfile(file, out / file.name)
    shutil.copyfile(folder / _index(variant), out / _index(None))


def autoencoder_bytes(folder: Path) -> int:
    """Returns the bytes of an autoencoder's config and weights."""
    return sum(file.stat().st_size for file in (folder / CONFIG, *_weights(folder)))


def autoencoder_variant(folder: Path) -> str | None:
    """Returns the variant of an autoencoder's weights, None if they are plain.

    Raises:
        NetworkError: there are no safetensors.
    """
    for variant in _VARIANTS:
        if (folder / _name(variant)).is_file() or (folder / _index(variant)).is_file():
            return variant
    raise NetworkError(
        f"an autoencoder's weights must be in {WEIGHTS}, or in shards with an index, got none in {folder}; save the "
        "pipeline again with safe_serialization=True"
    )


def _weights(folder: Path) -> list[Path]:
    """Returns the one file of weights, or all shards, in the order of their names."""
    variant = autoencoder_variant(folder)
    index = folder / _index(variant)
    # As in diffusers, an index goes first.
    if not index.is_file():
        return [folder / _name(variant)]
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NetworkError(
            f"an index of weights must map each tensor to a file beside it, got {type(error).__name__} in {index}; "
            "save the pipeline again"
        ) from error
    missing = [name for name in names if Path(name).name != name or not (folder / name).is_file()]
    if missing or not names:
        raise NetworkError(
            f"all {len(names)} shards of an autoencoder's weights must lie beside their index, got none of "
            f"{missing[:3]} in {folder}; copy them too, or save the pipeline again"
        )
    return [folder / name for name in names]


def _index(variant: str | None) -> str:
    return f"{WEIGHTS}.index.json" if variant is None else f"{WEIGHTS}.index.{variant}.json"


def _name(variant: str | None) -> str:
    return WEIGHTS if variant is None else WEIGHTS.replace(".", f".{variant}.", 1)


def _plain_config(folder: Path) -> str:
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    # diffusers notes its version and where a model was loaded from.
    plain = {key: value for key, value in config.items() if not key.startswith("_") or key == "_class_name"}
    return json.dumps(plain, sort_keys=True, indent=2)
