"""How states become pictures: as they are, channel by channel, or decoded by the autoencoder that the store keeps.

Imports torch only where something is decoded.
"""

import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from advkd.browse.display import Pixels, ValueRange, latent, tile_size, tiles, value_range
from advkd.browse.store_view import StoreSnapshot
from advkd.diffusion import Space, decoded, space_of
from advkd.networks import NetworkError, kept_decoder
from storage import StoreError
from storage.objects import local_folder

DECODED, ALL = "decoded", "all"
_CHANNELS = 16
_CODING = threading.Lock()


@dataclass(frozen=True)
class Look:
    """A way to show states: `DECODED`, `ALL` channels beside each other, or one channel by number."""

    view: StoreSnapshot
    how: str = ALL
    space: Space | None = None

    def tile(self, t: int) -> tuple[int, int]:
        """Width and height of a tile."""
        shape = self.view.spec.state_shape(t)
        if self.space is not None and shape == tuple(self.view.spec.sample_shape):
            return tile_size(self.space.image_shape)
        return tile_size(shape if self.how in (ALL, DECODED) else (1, *shape[1:]))

    @property
    def largest(self) -> tuple[int, int]:
        """Width and height of the largest tile."""
        return max(self.tile(t) for t in self.view.spec.timesteps)

    def pixels(self, states: npt.NDArray[Any], t: int, contrast: str = "fixed") -> Pixels:
        """Draws states `[B, C, H_k, W_k]`."""
        if self.space is not None and states.shape[1:] == tuple(self.view.spec.sample_shape):
            return tiles(images(self.space, states), ValueRange(-1.0, 1.0), contrast=contrast)
        shown = states if self.how in (ALL, DECODED) else states[:, int(self.how)][:, None]
        return tiles(shown, value_range(self.view.manifest, t), contrast=contrast)


def images(space: Space, states: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Decodes states `[B, *space.shape]` to images in [-1, 1], one request at a time."""
    import torch

    with _CODING:
        made: npt.NDArray[np.float32] = decoded(space, torch.from_numpy(states.astype(np.float32))).numpy()
    return made


@dataclass
class Decoders:
    """The autoencoders of latents, each loaded once; `wanted` is `--decode`. Thread-safe."""

    wanted: bool
    _spaces: dict[str, Space | None] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _folders: list[Any] = field(default_factory=list)

    def space(self, view: StoreSnapshot) -> Space | None:
        """Returns what decodes a store's states; None for pixels, without `--decode`, and where no decoder is kept."""
        if not self.wanted or view.spec.space is None:
            return None
        with self._lock:
            if view.store.name not in self._spaces:
                self._spaces[view.store.name] = self._found(view)
            return self._spaces[view.store.name]

    def ways(self, view: StoreSnapshot) -> list[dict[str, str]]:
        """Returns the ways to show a store's states, the default first: value and name of each."""
        ways = [] if self.space(view) is None else [{"value": DECODED, "name": "decoded"}]
        if not latent(view.spec):
            return ways
        count = min(view.spec.sample_shape[0], _CHANNELS)
        single = [{"value": str(k), "name": f"channel {k}"} for k in range(count)] if count > 1 else []
        return [*ways, {"value": ALL, "name": "all channels"}, *single]

    def look(self, view: StoreSnapshot, how: str) -> Look:
        """Returns a way to show a store's states."""
        return Look(view, how, self.space(view) if how == DECODED else None)

    def _found(self, view: StoreSnapshot) -> Space | None:
        kept = kept_decoder(view.store.uri, view.spec.space)
        places = None
        try:
            if kept is not None:
                here = local_folder(kept.uri)
                if here is None:
                    self._folders.append(tempfile.TemporaryDirectory())
                    here = Path(self._folders[-1].name) / "decoder"
                    kept.fetch(here)
                places = [str(here)]
            elif (view.spec.space or {}).get("kind") == "autoencoder":
                return None
            channels, height, width = view.spec.sample_shape
            return space_of(view.spec.space, (channels, height, width), places)
        except (NetworkError, StoreError, OSError, ValueError):
            # The latents are shown as they are.
            return None
