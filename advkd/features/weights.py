"""Weights of known networks: where they are looked for, their sha256, and how they are read; no pickle is run."""

import os
import pickle
import urllib.error
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from advkd.features.errors import FeatureError
from advkd.files import file_sha256

FETCH = "fetch"
CONSENT = "ADVKD_FETCH_WEIGHTS"
"""Environment variable: "1" allows what `--weights fetch` does."""
_SAFETENSORS = ".safetensors"


@dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """A file of weights that somebody publishes.

    Attributes:
        extractor: whose weights they are.
        names: of the file, as others save it in torch hub's cache; the first is ours.
        sha256: of the file.
        url: where it is published.
        megabytes: its size.
    """

    extractor: str
    names: tuple[str, ...]
    sha256: str
    url: str
    megabytes: int

    def file(self, asked: str | None) -> Path:
        """Returns the local file: the one asked for, that in torch hub's cache, or the one fetched with consent.

        Args:
            asked: a file; "fetch": may be fetched; None: only if the environment says so.

        Raises:
            FeatureError: there is none, or it has another sha256.
        """
        if asked not in (None, FETCH):
            return self._checked(Path(str(asked)))
        cache = Path(torch.hub.get_dir()) / "checkpoints"
        cached = next((cache / name for name in self.names if (cache / name).is_file()), None)
        if cached is not None:
            return self._checked(cached)
        if asked != FETCH and os.environ.get(CONSENT) != "1":
            raise FeatureError(
                f"the extractor {self.extractor!r} needs the weights {self.names[0]} ({self.megabytes} MB, sha256 "
                f"{self.sha256[:12]}), got none in {cache}; give the file with --weights FILE, or let them be fetched "
                f"once from {self.url} with --weights {FETCH} or {CONSENT}=1"
            )
        return self._fetched(cache / self.names[0])

    def _fetched(self, file: Path) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(self.url, str(file), hash_prefix=self.sha256, progress=False)
        except (urllib.error.URLError, OSError) as error:
            raise FeatureError(
                f"the weights of {self.extractor!r} must be reached to be fetched, got {error} for {self.url}; fetch "
                "them elsewhere and give the file with --weights FILE"
            ) from error
        except RuntimeError as error:
            raise self._refusal(self.url, "a file of another sha256") from error
        return self._checked(file)

    def _checked(self, file: Path) -> Path:
        if not file.is_file():
            raise FeatureError(
                f"the weights of {self.extractor!r} must be a file, got none at {file}; correct the path"
            )
        sha256 = file_sha256(file)
        if sha256 != self.sha256:
            raise self._refusal(str(file), sha256[:12])
        return file

    def _refusal(self, place: str, got: str) -> FeatureError:
        return FeatureError(
            f"the weights of {self.extractor!r} must have the sha256 {self.sha256[:12]}, got {got} for {place}; get "
            f"{self.names[0]} from {self.url}"
        )


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Reads a state dict of safetensors or of `torch.save`; nothing in it is run.

    Raises:
        FeatureError: it is no state dict, or holds more than tensors.
    """
    try:
        if file.suffix == _SAFETENSORS:
            return load_file(file)
        with warnings.catch_warnings():
            # Of pickles that are none of torch's, it warns before it refuses them.
            warnings.simplefilter("ignore", UserWarning)
            tensors = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise FeatureError(
            f"weights must be a state dict of tensors alone, got {type(error).__name__} for {file}; nothing else is "
            "read of a pickle: save model.state_dict(), or safetensors"
        ) from error
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise FeatureError(f"weights must be a state dict of tensors, got something else in {file}; save safetensors")
    return tensors


def with_weights(network: nn.Module, tensors: Mapping[str, Tensor], file: Path) -> nn.Module:
    """Returns the network with these weights, in evaluation mode and without gradients.

    Raises:
        FeatureError: they are of another network.
    """
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        why = str(error).strip().splitlines()[-1].strip()[:200]
        raise FeatureError(
            f"weights must be those of a {type(network).__name__}, got others in {file} ({why}); give the right file"
        ) from error
    return network.eval().requires_grad_(False)
