"""Folders of transformers' models: from disk, the hub's cache or the hub; safetensors alone, no remote code."""

import importlib.util
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advkd.features.errors import FeatureError
from advkd.files import files_sha256

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_PATTERNS = ("*.json", "*.safetensors", "*.txt")
_NOT_WEIGHTS = ("*/*",)
PREPROCESSOR = "preprocessor_config.json"


@dataclass(frozen=True, kw_only=True)
class HubModel:
    """A model that an extractor may be.

    Attributes:
        extractor: whose model it is.
        hub_id: of the one that is looked for where none is named, `owner/name`.
        kinds: `model_type` in its config, and the class of transformers.
    """

    extractor: str
    hub_id: str
    kinds: Mapping[str, str]

    def folder(self, asked: str | None) -> Path:
        """Returns the local folder of a model.

        Args:
            asked: a folder, or a hub id `owner/name` with or without `@revision`, which is fetched if the cache lacks
                it; None: `hub_id`, in the cache alone.

        Raises:
            FeatureError: transformers is not installed, there is no such model, or it cannot be reached.
        """
        if importlib.util.find_spec("transformers") is None:
            raise FeatureError(
                f"the extractor {self.extractor!r} needs the package transformers, got no such package; install it: "
                "pip install 'advkd[text]'"
            )
        if asked is not None and Path(asked).is_dir():
            return Path(asked)
        place = asked or self.hub_id
        if not _HUB_ID.fullmatch(place):
            raise FeatureError(
                f"weights of {self.extractor!r} must be a folder or a hub id owner/name, got {place!r}; correct it"
            )
        repository, _, revision = place.partition("@")
        cached = _snapshot(repository, revision or None, local_files_only=True)
        if isinstance(cached, Path):
            return cached
        if asked is None:
            raise FeatureError(
                f"the extractor {self.extractor!r} needs a model, got none of {self.hub_id} in the hub's cache; let it "
                f"be fetched once with --weights {self.hub_id}, or give a folder with --weights FOLDER"
            )
        fetched = _snapshot(repository, revision or None, local_files_only=False)
        if isinstance(fetched, Path):
            return fetched
        raise FeatureError(
            f"a model of the hub must be reached to be fetched, got {type(fetched).__name__} for {place}; fetch it on "
            "another machine, and give its folder with --weights FOLDER"
        ) from fetched

    def load(self, folder: Path) -> Any:
        """Loads the model on the CPU in float32, in evaluation mode and without gradients.

        Raises:
            FeatureError: it is of another kind, has no safetensors, or they do not fit its config.
        """
        kind = read_config(folder, "config.json").get("model_type")
        if kind not in self.kinds:
            raise FeatureError(
                f"the model of {self.extractor!r} must be one of {sorted(self.kinds)}, got {kind!r} in {folder}; give "
                "another with --weights"
            )
        if not any(folder.glob("*.safetensors")):
            raise FeatureError(
                f"a model's weights must be safetensors, got none in {folder}; save it with save_pretrained"
            )
        import torch
        import transformers

        try:
            network, loading = getattr(transformers, self.kinds[str(kind)]).from_pretrained(
                folder,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
            )
        except Exception as error:
            raise FeatureError(
                f"a model's weights must fit its config, got {type(error).__name__} while loading {folder}; save it "
                "again"
            ) from error
        missing = sorted(loading["missing_keys"])
        if missing:
            raise FeatureError(
                f"a model's weights must be whole, got none for {missing[:3]} in {folder}; save it again"
            )
        return network.eval().requires_grad_(False)

    def sha256(self, folder: Path) -> str:
        """Returns the sha256 over the weights, the model's config and that of its preprocessor."""
        configs = [path for path in (folder / "config.json", folder / PREPROCESSOR) if path.is_file()]
        return files_sha256(folder, [*configs, *sorted(folder.glob("*.safetensors"))])


def read_config(folder: Path, name: str) -> dict[str, Any]:
    """Returns the JSON object in a model's folder; raises `FeatureError` if there is none."""
    try:
        config = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FeatureError(
            f"a model's folder must have a {name}, got {type(error).__name__} in {folder}; save the model with its "
            "processor (save_pretrained of both)"
        ) from error
    if not isinstance(config, dict):
        raise FeatureError(
            f"a model's {name} must be an object, got a {type(config).__name__} in {folder}; save it again"
        )
    return config


def _snapshot(repository: str, revision: str | None, *, local_files_only: bool) -> Path | Exception:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            repository,
            revision=revision,
            allow_patterns=list(_PATTERNS),
            ignore_patterns=list(_NOT_WEIGHTS),
            local_files_only=local_files_only,
        )
    except Exception as error:  # The hub's client has no base class of its errors.
        return error
    # A cache may hold the configs alone.
    path = Path(folder)
    return path if any(path.glob("*.safetensors")) else FileNotFoundError(f"no safetensors of {repository}")
