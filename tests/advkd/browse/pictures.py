"""What a page would see of answers: sheets cut into tiles, planes of numbers."""

import io
import json
import re
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from starlette.testclient import TestClient


def image_of(body: bytes) -> npt.NDArray[np.uint8]:
    """A PNG's pixels."""
    return np.asarray(Image.open(io.BytesIO(body)))


def sheet(client: TestClient, side: str, **query: Any) -> tuple[npt.NDArray[np.uint8], dict[str, str]]:
    """Tiles `[places, h, w, ...]` of a sheet, and its marks."""
    answer = client.get(f"/api/sheet/{side}", params=query)
    assert answer.status_code == 200, answer.text
    facts = json.loads(answer.headers["x-advkd-sheet"])
    pixels = image_of(answer.content)
    down, across = pixels.shape[0] // facts["height"], facts["columns"]
    cut = pixels.reshape(down, facts["height"], across, facts["width"], *pixels.shape[2:])
    tiles = np.moveaxis(cut, 2, 1).reshape(down * across, facts["height"], facts["width"], *pixels.shape[2:])
    return tiles, facts["marks"]


def rows(client: TestClient) -> list[str]:
    """Names of the stores on the list."""
    return re.findall(r'<tr data-store="([^"]*)"', client.get("/").text)


def planes(body: bytes) -> dict[tuple[str, str, int], npt.NDArray[np.float32]]:
    """The numbers of a trajectory by row, kind and timestep."""
    (length,) = struct.unpack("<I", body[:4])
    floats = np.frombuffer(body[4 + length :], dtype="<f4")
    found = {}
    for one in json.loads(body[4 : 4 + length])["planes"]:
        size = int(np.prod(one["shape"]))
        found[one["row"], one["kind"], one["t"]] = floats[one["at"] : one["at"] + size].reshape(one["shape"])
    return found


def grey(states: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """The oracle: values of [-1, 1] as 0 to 255, `[B, 1, H, W]` to `[B, H, W]`."""
    clipped = np.clip(states.astype(np.float64)[:, 0], -1, 1)
    return np.floor((clipped + 1) * 127.5 + 0.5).astype(np.uint8)
