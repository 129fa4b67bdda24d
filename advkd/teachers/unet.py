"""A diffusers pipeline as a teacher: `DDPMPipeline` or `DDIMPipeline` with an unconditional pixel-space `UNet2DModel`.

From a local folder or a hub id. Safetensors only, classes by a fixed table, never remote code.
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from advkd.device import torch_device
from advkd.schedule import NoiseSchedule
from advkd.teachers.base import SolverSpec, TeacherError
from advkd.teachers.solver import build_scheduler, scheduler_facts, solve

PIPELINES = ("DDPMPipeline", "DDIMPipeline")
PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")
_WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
# While it loads, diffusers patches torch for the whole process: two loads at once can leave the patch in place, and
# every network built later without memory ("meta") or initial weights.
_LOADING = threading.Lock()


class UNetTeacher:
    """A `Teacher` that runs a `UNet2DModel` in float32 under diffusers' DDIM or DDPM scheduler."""

    def __init__(self, folder: Path, name: str | None = None, device: str = "cpu") -> None:
        """Loads and checks the folder.

        Raises:
            TeacherError: no pipeline folder, another class, pickle weights, conditional or latent model.
        """
        self._scheduler_config = _check_folder(folder)
        self.name = name or slug(folder.resolve().name)
        self.fingerprint = folder_fingerprint(folder)
        self.device = torch_device(device)
        self.network: nn.Module = _load_unet(folder).to(self.device, memory_format=torch.channels_last)
        self.sample_shape = _sample_shape(self.network)
        alpha_bars = build_scheduler(self._scheduler_config, SolverSpec(steps=1)).alphas_cumprod
        self.schedule = NoiseSchedule(tuple(alpha_bars.tolist()))

    def solver_config(self, solver: SolverSpec) -> dict[str, Any]:
        """See `Teacher.solver_config`."""
        return scheduler_facts(build_scheduler(self._scheduler_config, solver))

    def states(
        self, noise: Tensor, solver: SolverSpec, timesteps: Sequence[int], seeds: Sequence[int] | None = None
    ) -> Iterator[Tensor]:
        """See `Teacher.states`; the states stay on the teacher's device."""
        scheduler = build_scheduler(self._scheduler_config, solver)
        start = noise.to(self.device, torch.float32, memory_format=torch.channels_last)
        yield from solve(self._predict, scheduler, start, timesteps, seeds)

    def _predict(self, state: Tensor, timestep: int) -> Tensor:
        return self.network(state, timestep).sample  # type: ignore[no-any-return]


def resolve_source(source: str) -> Path:
    """The local folder of a teacher: the folder itself, or a snapshot of a hub id (JSON and safetensors only).

    Raises:
        TeacherError: neither a folder nor a hub id that can be fetched.
    """
    folder = Path(source)
    if folder.is_dir():
        return folder
    if folder.is_absolute() or source.startswith(".") or not _HUB_ID.fullmatch(source):
        raise TeacherError(
            f"a teacher must be an embedded name, a folder or a hub id, got {source!r}, which is none of them; "
            "check the spelling or the path"
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, allow_patterns=["*.json", "*.safetensors"]))
    except Exception as error:
        raise TeacherError(
            f"a hub id must be reachable or cached, got {source!r}, which could not be fetched "
            f"({type(error).__name__}); check the name and the network, or give a local folder"
        ) from error


def folder_fingerprint(folder: Path) -> str:
    """sha256 over names and contents of the files that decide what the teacher computes."""
    sha = hashlib.sha256()
    weights = _weights_file(folder / "unet")
    for path in (folder / "scheduler" / "scheduler_config.json", folder / "unet" / "config.json", weights):
        content = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                content.update(block)
        sha.update(f"{path.relative_to(folder).as_posix()} {content.hexdigest()}\n".encode())
    return sha.hexdigest()


def slug(text: str) -> str:
    """Lower-case letters, digits and dashes; "teacher" if nothing is left."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "teacher"


def _check_folder(folder: Path) -> dict[str, Any]:
    index = _read_json(folder / "model_index.json")
    pipeline, unet = index.get("_class_name"), index.get("unet")
    if pipeline not in PIPELINES or unet != ["diffusers", "UNet2DModel"]:
        raise TeacherError(
            f"a teacher must be one of {PIPELINES} with a diffusers UNet2DModel, got {pipeline!r} with {unet!r} in "
            f"{folder}; convert it or choose another teacher"
        )
    _weights_file(folder / "unet")
    config = _read_json(folder / "unet" / "config.json")
    if config.get("num_class_embeds") or config.get("class_embed_type"):
        raise TeacherError(
            f"a teacher must be unconditional, got class embeddings in {folder}; choose an unconditional teacher"
        )
    scheduler = _read_json(folder / "scheduler" / "scheduler_config.json")
    prediction = scheduler.get("prediction_type", "epsilon")
    if prediction not in PREDICTION_TYPES:
        raise TeacherError(
            f"prediction_type must be one of {PREDICTION_TYPES}, got {prediction!r} in {folder}; choose another teacher"
        )
    return scheduler


def _read_json(path: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TeacherError(
            f"a teacher must be a diffusers pipeline folder, got no {path.name} at {path}; "
            "save it with pipeline.save_pretrained(folder)"
        ) from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise TeacherError(f"{path.name} must be JSON, got something else at {path}; save the teacher again") from error
    if not isinstance(loaded, dict):
        raise TeacherError(f"{path.name} must be a JSON object, got another value at {path}; save the teacher again")
    return loaded


def _weights_file(folder: Path) -> Path:
    for name in _WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    pickles = [p.name for p in (*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.ckpt"))]
    if pickles:
        raise TeacherError(
            f"teacher weights must be safetensors, got only pickle files {sorted(pickles)} in {folder}, which are "
            "never loaded; save the pipeline again with safe_serialization=True"
        )
    raise TeacherError(
        f"a teacher needs weights, got no {_WEIGHTS[0]} in {folder}; save the pipeline again with "
        "safe_serialization=True"
    )


def _load_unet(folder: Path) -> UNet2DModel:
    variant = "fp16" if _weights_file(folder / "unet").name.endswith(".fp16.safetensors") else None
    try:
        with _LOADING:
            unet, loading = UNet2DModel.from_pretrained(
                folder / "unet",
                use_safetensors=True,
                torch_dtype=torch.float32,
                variant=variant,
                local_files_only=True,
                output_loading_info=True,
            )
    except Exception as error:
        raise TeacherError(
            f"a teacher's weights must fit its config, got {type(error).__name__} while loading {folder / 'unet'}; "
            "save the pipeline again"
        ) from error
    # diffusers only warns about these, and leaves missing weights as they happen to be.
    wrong = {kind: names[:3] for kind, names in loading.items() if names}
    if wrong:
        raise TeacherError(
            f"a teacher's weights must fit its config, got {wrong} in {folder / 'unet'}; save the pipeline again"
        )
    return unet.eval().requires_grad_(False)


def _sample_shape(network: Any) -> tuple[int, int, int]:
    config = network.config
    if config.in_channels != config.out_channels or config.sample_size is None:
        raise TeacherError(
            f"a teacher must map images to images of one size, got {config.in_channels} channels in, "
            f"{config.out_channels} out, sample_size {config.sample_size}; learned variances are not "
            "supported: choose another teacher"
        )
    size = config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    return config.in_channels, height, width
