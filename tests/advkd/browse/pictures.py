"""What a page would see of answers: sheets cut into tiles, rows of a trajectory."""

import base64
import io
import json
import re
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
    return cut(image_of(answer.content), facts), facts["marks"]


def cut(pixels: npt.NDArray[np.uint8], facts: dict[str, Any]) -> npt.NDArray[np.uint8]:
    """The tiles of a sheet, `[places, h, w, ...]`."""
    height, width = facts["height"], facts["width"]
    down, across = pixels.shape[0] // height, facts["columns"]
    parts = pixels.reshape(down, height, across, width, *pixels.shape[2:])
    return np.moveaxis(parts, 2, 1).reshape(down * across, height, width, *pixels.shape[2:])


def rows(client: TestClient, path: str = "/") -> list[str]:
    """Names of the stores on the list."""
    return re.findall(r'<tr data-store="([^"]*)"', client.get(path).text)


def strip(client: TestClient, store: str, sample: int, **query: Any) -> list[dict[str, Any]]:
    """Rows of a trajectory, with their tiles by timestep."""
    answer = client.get(f"/api/stores/{store}/strip/{sample}", params=query)
    assert answer.status_code == 200, answer.text
    rows = answer.json()["rows"]
    for row in rows:
        tiles = cut(image_of(base64.b64decode(row["png"])), row)
        row["tiles"] = dict(zip(row["times"], tiles, strict=False))
    return rows


def arrays(client: TestClient, store: str, sample: int, **query: Any) -> dict[str, npt.NDArray[Any]]:
    """The numbers of a trajectory, as they are exported."""
    answer = client.get(f"/s/{store}/export.npz", params={"samples": sample} | query)
    assert answer.status_code == 200, answer.text
    with np.load(io.BytesIO(answer.content), allow_pickle=False) as file:
        return {name: file[name][0] for name in file if file[name].ndim}


def grey(states: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """The oracle: values of [-1, 1] as 0 to 255, `[B, 1, H, W]` to `[B, H, W]`."""
    clipped = np.clip(states.astype(np.float64)[:, 0], -1, 1)
    return np.floor((clipped + 1) * 127.5 + 0.5).astype(np.uint8)
