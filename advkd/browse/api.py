"""Routes for the pages' scripts: pictures, numbers, the shard map, the list. Read-only; see `docs/browse.md`."""

import json
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from advkd.browse import query
from advkd.browse.comparing import Side
from advkd.browse.decoding import ALL, images
from advkd.browse.display import CONTRASTS, latent
from advkd.browse.shard_map import shard_map
from advkd.browse.sheets import MOST_SAMPLES, Sheet, parse_samples
from advkd.browse.shown import Shown
from advkd.browse.store_list import store_rows
from advkd.browse.store_view import StoreSnapshot
from advkd.browse.students import clean_image, implies_clean

SCALES = ("0.5", "0.05", "0.1", "0.25", "1", "2")
"""Differences that are shown in white, the default first; values lie in [-1, 1]."""
NO_STORE = {"Cache-Control": "no-store"}
_KEEP = {"Cache-Control": "private, max-age=3600"}


def shown(request: Request) -> Shown:
    """Returns what the server holds."""
    held: Shown = request.app.state.shown
    return held


def view_of(request: Request) -> StoreSnapshot:
    """Returns the store that a path names, as it is at the moment of the request."""
    return shown(request).catalogue.store(request.path_params["store"]).view()


def sheet(request: Request) -> Response:
    """Answers `/api/sheet/{side}?samples=0-99&t=0&contrast=fixed&columns=10`: a PNG, described in `X-Advkd-Sheet`."""
    side = shown(request).side(request.path_params["side"])
    view = side.view
    samples = parse_samples(request.query_params.get("samples", ""), view.num_samples)
    columns = query.integer(request, "columns", 0, 1, MOST_SAMPLES) or None
    contrast, ways = query.choice(request, "contrast", CONTRASTS), shown(request).decoders.ways(view)
    how = query.choice(request, "as", (ALL, *(way["value"] for way in ways)))
    made = shown(request).sheet(side, samples, query.timestep(request, side.timesteps()), contrast, columns, how)
    # Not cached by the browser: a student may have another number in the next session, marked shards may be
    # repaired, and the seal changes how latents are shown.
    lasting = side.student is None and not made.marks and (view.sealed or not latent(view.spec))
    headers = _KEEP if lasting else NO_STORE
    return _picture(made, headers)


def difference(request: Request) -> Response:
    """Answers `/api/difference?left=..&right=..&samples=0-99&t=0&most=0.5`: |left - right|, white from `most` on."""
    left, right = both_sides(request)
    both = min(left.view.num_samples, right.view.num_samples)
    samples = parse_samples(request.query_params.get("samples", ""), both)
    most = float(query.choice(request, "most", SCALES))
    made = shown(request).difference(left, right, samples, query.timestep(request, left.timesteps()), most)
    return _picture(made, NO_STORE)


def values(request: Request) -> Response:
    """Answers `/api/stores/{store}/values/{sample}?student=0`: all numbers of a trajectory.

    The body is a little-endian uint32, the length of the JSON that follows (padded to 4), then the float32 planes that
    the JSON lists.
    """
    view, held = view_of(request), shown(request)
    index = query.sample(request.path_params["sample"], view.num_samples)
    spec = view.spec
    looked = view.read([index], spec.timesteps)
    if looked.marks:
        mark = looked.marks[index]
        return JSONResponse({"error": {"kind": mark.kind, "message": mark.message}}, 422, headers=NO_STORE)
    noise = looked.states[spec.timesteps[0]]
    planes, space = _Planes(), held.decoders.space(view)

    def show(row: str, t: int, state: npt.NDArray[Any]) -> None:
        planes.add(row, "state", t, state[0])
        if space is not None and state.shape[1:] == tuple(spec.sample_shape):
            planes.add(row, "decoded", t, images(space, state)[0])

    for t in spec.timesteps:
        show("teacher", t, looked.states[t])
        if implies_clean(spec, t):
            planes.add("teacher", "clean", t, clean_image(looked.states[t], noise, spec, t)[0])
    for number in sorted(set(request.query_params.getlist("student"))):
        student = held.student(number, view)
        assert student is not None
        predicted = student.states(spec, [index], noise)
        for t in student.shared_timesteps(spec):
            show(f"student {number}", t, predicted[t])
            if implies_clean(spec, t):
                planes.add(f"student {number}", "clean", t, clean_image(predicted[t], noise, spec, t)[0])
    return Response(planes.body({"sample": index}), media_type="application/octet-stream", headers=NO_STORE)


def shards(request: Request) -> Response:
    """Answers `/api/stores/{store}/shards`: the state of every shard, in runs; pages of growing stores poll it."""
    return JSONResponse(shard_map(view_of(request)), headers=NO_STORE)


def check(request: Request) -> Response:
    """Answers `/api/stores/{store}/check/{shard}`: reads a whole shard and compares its sha256."""
    view = view_of(request)
    most = max(0, view.manifest.num_shards - 1)
    shard = query.number("the number of a shard", request.path_params["shard"], 0, most)
    mark = view.check(shard)
    state = {"shard": shard, "state": mark.kind if mark else "present", "message": mark.message if mark else ""}
    return JSONResponse(state, headers=NO_STORE)


def stores(request: Request) -> Response:
    """Answers `/api/stores`: the list of stores as far as it has been read."""
    catalogue = shown(request).catalogue
    rows = store_rows(catalogue.stores())
    return JSONResponse({"stores": rows, "reading": catalogue.reading}, headers=NO_STORE)


def both_sides(request: Request) -> tuple[Side, Side]:
    """Returns the two sides that a query names."""
    return shown(request).sides(*(request.query_params.get(name, "") for name in ("left", "right")))


def _picture(made: Sheet, headers: dict[str, str]) -> Response:
    facts = json.dumps(made.to_json(), separators=(",", ":"))
    return Response(made.png, media_type="image/png", headers=headers | {"X-Advkd-Sheet": facts})


class _Planes:
    """Arrays in a row, and their description."""

    def __init__(self) -> None:
        self._listed: list[dict[str, Any]] = []
        self._parts: list[bytes] = []
        self._floats = 0

    def add(self, row: str, kind: str, timestep: int, state: npt.NDArray[Any]) -> None:
        self._listed.append({"row": row, "kind": kind, "t": timestep, "shape": state.shape, "at": self._floats})
        self._parts.append(np.ascontiguousarray(state, dtype="<f4").tobytes())
        self._floats += state.size

    def body(self, facts: dict[str, Any]) -> bytes:
        header = json.dumps(facts | {"planes": self._listed}).encode()
        header += b" " * (-len(header) % 4)
        return b"".join([struct.pack("<I", len(header)), header, *self._parts])


ROUTES = [
    Route("/api/stores", stores),
    Route("/api/sheet/{side}", sheet),
    Route("/api/stores/{store}/values/{sample}", values),
    Route("/api/stores/{store}/shards", shards),
    Route("/api/stores/{store}/check/{shard}", check),
    Route("/api/difference", difference),
]
