"""How states become pictures: as they are, channel by channel, or decoded by the autoencoder that the store keeps.

Imports torch only where something is decoded.
"""

import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from advkd.browse.display import Pixels, latent, tile_size, tiles, value_range
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

    def images(self, states: npt.NDArray[Any]) -> npt.NDArray[np.float32] | None:
        """Decodes states `[B, C, H, W]` to images in [-1, 1], one request at a time; None where nothing decodes them.

        Only states of full size are decoded.
        """
        if self.space is None or states.shape[1:] != tuple(self.view.spec.sample_shape):
            return None
        import torch

        with _CODING:
            made: npt.NDArray[np.float32] = decoded(self.space, torch.from_numpy(states.astype(np.float32))).numpy()
        return made

    def pixels(self, states: npt.NDArray[Any], t: int) -> Pixels:
        """Draws states `[B, C, H_k, W_k]`."""
        made = self.images(states)
        if made is not None:
            return tiles(made)
        return tiles(self.seen(states), value_range(self.view.manifest, t))

    def seen(self, states: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Returns the channels of states `[B, C, H, W]` that are shown."""
        return states if self.how in (ALL, DECODED) else states[:, int(self.how)][:, None]


class Decoders:
    """The autoencoders of latents, each loaded once. Thread-safe.

    Args:
        wanted: `--decode`.
    """

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted
        self._lock = threading.Lock()
        self._spaces: dict[str, tuple[str, Space | None]] = {}
        self._folders: list[tempfile.TemporaryDirectory[str]] = []

    def space(self, view: StoreSnapshot) -> Space | None:
        """Returns what decodes a store's states; None for pixels, without `--decode`, and where no decoder is kept.

        One that is not there yet is looked for again whenever the store has changed.
        """
        if not self._wanted or view.spec.space is None:
            return None
        with self._lock:
            stamp, space = self._spaces.get(view.store.name, ("", None))
            if space is None and stamp != view.stamp:
                space = self._kept(view)
                self._spaces[view.store.name] = view.stamp, space
            return space

    def ways(self, view: StoreSnapshot) -> list[str]:
        """Returns the ways to show a store's states, the default first."""
        if not latent(view.spec):
            return [ALL]
        count = min(view.spec.sample_shape[0], _CHANNELS)
        single = map(str, range(count if count > 1 else 0))
        return [*([] if self.space(view) is None else [DECODED]), ALL, *single]

    def look(self, view: StoreSnapshot, how: str = "") -> Look:
        """Returns a way to show a store's states; "" is the default."""
        how = how or self.ways(view)[0]
        return Look(view, how, self.space(view) if how == DECODED else None)

    def _kept(self, view: StoreSnapshot) -> Space | None:
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
