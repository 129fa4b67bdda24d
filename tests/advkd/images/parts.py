"""Pictures, and the places that they lie in."""

import io
import tarfile
import zipfile
from collections.abc import Mapping

import numpy as np
from PIL import Image

from storage.objects import join, write_bytes

SHAPE = (3, 16, 16)
PLACES = ("folder", "zip", "tar", "zips", "tars")


def pixels(seed: int, height: int = 16, width: int = 16, channels: int = 3) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def encoded(picture: Image.Image | np.ndarray, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(buffer, format, **options)
    return buffer.getvalue()


def pictures(count: int = 5) -> dict[str, bytes]:
    """Coloured PNGs in two folders, not in the order of their names."""
    return {f"{'ba'[number % 2]}/{number:03d}.png": encoded(pixels(number)) for number in reversed(range(count))}


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(files: Mapping[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def placed(root: str, place: str, files: Mapping[str, bytes]) -> str:
    """Writes pictures as a set of a kind below a root; returns its URI."""
    if place == "folder":
        for name, data in files.items():
            write_bytes(join(root, "set", name), data)
        return join(root, "set")
    packed = {"zip": zipped, "tar": tarred}[place[:3]]
    if place in ("zip", "tar"):
        write_bytes(join(root, f"set.{place}"), packed(files))
        return join(root, f"set.{place}")
    names = sorted(files)
    half = len(names) // 2
    for number, part in enumerate((names[:half], names[half:])):
        write_bytes(join(root, place, f"part-{number}.{place[:3]}"), packed({name: files[name] for name in part}))
    return join(root, place)
