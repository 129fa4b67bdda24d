"""The space of latents: states are an autoencoder's latents times a scaling factor.

Latent Diffusion (https://arxiv.org/abs/2112.10752), section 3.2 and appendix G.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advkd.networks.autoencoder import AUTOENCODERS, autoencoder_facts, autoencoder_sha256, autoencoder_variant
from advkd.networks.loading import NetworkError, load_network

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, int, int]
_PIXELS_AT_ONCE = 2**20


class AutoencoderSpace:
    """States `(latent - shift) * scaling`, decoded by the autoencoder whose content the facts name.

    The facts say no place: the autoencoder is looked for where `found` is told to, and known by its sha256. Until then
    the space has shapes and facts, and decodes nothing.

    Attributes:
        shape: `[C, H, W]` of a state.
        image_shape: `[C, H, W]` of an image.
        facts: see `autoencoder_facts`.
        folder: where the autoencoder was found, None before.
    """

    def __init__(self, facts: Mapping[str, Any], shape: Shape) -> None:
        """Builds the space of these facts; raises `ValueError` if they are not whole or do not fit the shape."""
        self.facts: Mapping[str, Any] = dict(facts)
        self.shape = (shape[0], shape[1], shape[2])
        self.folder: Path | None = None
        self._network: Any = None
        try:
            kind, image, sha256 = facts["class"], facts["image_shape"], facts["sha256"]
            self.scaling, self.shift = float(facts["scaling_factor"]), float(facts["shift_factor"])
            self.image_shape = (int(image[0]), int(image[1]), int(image[2]))
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(
                f"the facts of latents must say class, scaling_factor, shift_factor, image_shape and sha256, got "
                f"{error!r} with {dict(facts)}; precompute the store again"
            ) from error
        if kind not in AUTOENCODERS or not 0 < self.scaling < math.inf or not math.isfinite(self.shift):
            raise ValueError(
                f"latents must be of one of {sorted(AUTOENCODERS)} with a positive scaling_factor, got {kind!r} with "
                f"{self.scaling}; precompute the store again"
            )
        self.sha256 = str(sha256)

    @classmethod
    def of(cls, folder: Path, shape: Shape) -> "AutoencoderSpace":
        """Returns the space of a teacher's own autoencoder; raises `NetworkError` if it cannot be used."""
        return cls(autoencoder_facts(folder, shape), shape).found([str(folder)])

    def found(self, places: Sequence[str]) -> "AutoencoderSpace":
        """Returns this space with its autoencoder, loaded on the CPU, from the first folder that holds it.

        Raises:
            NetworkError: none does, and the message names them all; or its weights do not fit its config.
        """
        folder = next((Path(place) for place in places if self._holds(Path(place))), None)
        if folder is None:
            raise NetworkError(
                f"latents are decoded by the autoencoder that they were made with, a {self.facts['class']} with "
                f"sha256 {self.sha256[:12]}, got it in none of {list(places)}; copy the teacher's vae (or vqvae) "
                "folder to the first of these"
            )
        import diffusers

        space = AutoencoderSpace(self.facts, self.shape)
        space.folder = folder
        space._network = load_network(getattr(diffusers, self.facts["class"]), folder, autoencoder_variant(folder))
        return space

    def _holds(self, folder: Path) -> bool:
        try:
            return autoencoder_sha256(folder) == self.sha256
        except (OSError, ValueError):
            return False

    def decode(self, states: "Tensor") -> "Tensor":
        """Decodes states `[B, *shape]` to images `[B, *image_shape]`, about [-1, 1], float32 on the states' device.

        Memory does not grow with B but for the images themselves: a fixed number of pixels is decoded at a time.

        Raises:
            NetworkError: the autoencoder was not looked for.
        """
        import torch

        self.network.to(states.device)
        at_once = max(1, _PIXELS_AT_ONCE // (self.image_shape[1] * self.image_shape[2]))
        with torch.no_grad():
            return torch.cat([self.decode_at_once(part.float()) for part in states.split(at_once)])

    def decode_at_once(self, states: "Tensor") -> "Tensor":
        """Decodes states in one pass of the network, in its type: what a traced network does; see `decode`."""
        return self.network.decode(states / self.scaling + self.shift).sample  # type: ignore[no-any-return]

    def encode(self, images: "Tensor") -> "Tensor":
        """Encodes images `[B, *image_shape]` in [-1, 1] to states `[B, *shape]`, float32 on the images' device.

        Of an autoencoder whose encoder is random, the mean is taken.

        Raises:
            NetworkError: the autoencoder was not looked for.
        """
        import torch

        network = self.network.to(images.device)
        at_once = max(1, _PIXELS_AT_ONCE // (self.image_shape[1] * self.image_shape[2]))
        with torch.no_grad():
            parts = [_latents(network.encode(part.float())) for part in images.split(at_once)]
        return (torch.cat(parts) - self.shift) * self.scaling

    @property
    def network(self) -> Any:
        """The autoencoder; raises `NetworkError` if it was not looked for."""
        if self._network is None:
            raise NetworkError(
                f"latents must be decoded by the autoencoder of class {self.facts['class']} that they were made with, "
                f"got none for sha256 {self.sha256[:12]}; say where its folder is"
            )
        return self._network


def _latents(encoded: Any) -> "Tensor":
    """Diffusers' autoencoders name what they return differently."""
    if hasattr(encoded, "latent_dist"):
        return encoded.latent_dist.mode()  # type: ignore[no-any-return]
    return encoded.latents if hasattr(encoded, "latents") else encoded.latent  # type: ignore[no-any-return]
