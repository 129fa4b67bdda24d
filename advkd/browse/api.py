"""Routes for the pages' scripts: pictures, numbers, the shard map. Read-only; see `docs/browse.md`."""

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
from advkd.browse.display import latent
from advkd.browse.shard_map import shard_map
from advkd.browse.sheets import MOST_SAMPLES, Sheet, parse_samples
from advkd.browse.shown import Shown
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
    """Answers `/api/sheet/{side}?samples=0-99&t=0&columns=10`: a PNG, described in `X-Advkd-Sheet`."""
    side = shown(request).side(request.path_params["side"])
    view = side.view
    samples = parse_samples(request.query_params.get("samples", ""), view.num_samples)
    columns = query.integer(request, "columns", 0, 1, MOST_SAMPLES) or None
    how = query.choice(request, "as", tuple(shown(request).decoders.ways(view)))
    made = shown(request).sheet(side, samples, query.timestep(request, side.timesteps()), columns, how)
    # Not cached by the browser: a student may have another number in the next session, marked shards may be
    # repaired, and the seal and `--decode` change how latents are shown.
    same = not latent(view.spec) or (view.sealed and "as" in request.query_params)
    return _picture(made, _KEEP if side.student is None and not made.marks and same else NO_STORE)


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
    planes, look = _Planes(), held.decoders.look(view)
    rows = {"teacher": looked.states}
    for number in sorted(set(request.query_params.getlist("student"))):
        student = held.student(number, view)
        assert student is not None
        predicted = student.states(spec, [index], noise)
        rows[f"student {number}"] = {t: predicted[t] for t in student.shared_timesteps(spec)}
    for row, states in rows.items():
        for t, state in states.items():
            planes.add(row, "state", t, state)
            planes.add(row, "decoded", t, look.images(state))
            planes.add(row, "clean", t, clean_image(state, noise, spec, t) if implies_clean(spec, t) else None)
    return Response(planes.body({"sample": index}), media_type="application/octet-stream", headers=NO_STORE)


def shards(request: Request) -> Response:
    """Answers `/api/stores/{store}/shards`: the state of every shard, in runs; pages of growing stores poll it."""
    return JSONResponse(shard_map(view_of(request)), headers=NO_STORE)


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

    def add(self, row: str, kind: str, timestep: int, state: npt.NDArray[Any] | None) -> None:
        if state is None:
            return
        self._listed.append({"row": row, "kind": kind, "t": timestep, "shape": state.shape[1:], "at": self._floats})
        self._parts.append(np.ascontiguousarray(state, dtype="<f4").tobytes())
        self._floats += state.size

    def body(self, facts: dict[str, Any]) -> bytes:
        header = json.dumps(facts | {"planes": self._listed}).encode()
        header += b" " * (-len(header) % 4)
        return b"".join([struct.pack("<I", len(header)), header, *self._parts])


ROUTES = [
    Route("/api/sheet/{side}", sheet),
    Route("/api/stores/{store}/values/{sample}", values),
    Route("/api/stores/{store}/shards", shards),
    Route("/api/difference", difference),
]
