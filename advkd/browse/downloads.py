"""Makes files of a trajectory: a PNG strip, a GIF of the denoising, an npz of the stored numbers."""

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from advkd.browse.display import Pixels, tiles, value_range
from advkd.browse.store_view import StoreSnapshot
from storage import States

_SIDE = 160
_GAP = 2
_STEP_MS, _HOLD_MS = 350, 1500


def strip_png(view: StoreSnapshot, states: States) -> bytes:
    """Draws all states of a sample beside each other, from noise to clean, enlarged by a whole factor."""
    shown = _enlarged(view, states)
    gap = np.zeros((shown[0].shape[0], _GAP, *shown[0].shape[2:]), dtype=np.uint8)
    joined = [part for tile in shown for part in (tile, gap)][:-1]
    return _saved(Image.fromarray(np.concatenate(joined, axis=1)), "PNG")


def film_gif(view: StoreSnapshot, states: States) -> bytes:
    """Animates the states one after the other; the clean one stays longer."""
    frames = [Image.fromarray(tile) for tile in _enlarged(view, states)]
    times = [_STEP_MS] * (len(frames) - 1) + [_HOLD_MS]
    return _saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=times, loop=0)


def numbers_npz(states: States) -> bytes:
    """Returns an npz with `t0999`, ..., `t0000`: `[C, H_k, W_k]` in the store's dtype, without pickle."""
    buffer = io.BytesIO()
    arrays: dict[str, npt.NDArray[np.generic]] = {f"t{t:04d}": state[0] for t, state in states.items()}
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _enlarged(view: StoreSnapshot, states: States) -> Sequence[Pixels]:
    """Returns the tiles of a sample, all of the same height."""
    shown = [tiles(states[t], value_range(view.manifest, t))[0] for t in view.spec.timesteps]
    side = max(_SIDE, *(tile.shape[0] for tile in shown))
    largest = max(tile.shape[0] for tile in shown)
    factor = max(1, side // largest)
    return [_grown(tile, factor * largest // tile.shape[0]) for tile in shown]


def _grown(tile: Pixels, factor: int) -> Pixels:
    return tile.repeat(factor, axis=0).repeat(factor, axis=1)


def _saved(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=form, **options)
    return buffer.getvalue()
