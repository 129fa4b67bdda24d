"""Routes for the pages' scripts: pictures, numbers, orders, the shard map. Read-only; see `docs/browse.md`."""

import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from advkd.browse import query
from advkd.browse.comparing import Side, by_disagreement
from advkd.browse.decoding import ALL, images
from advkd.browse.display import CONTRASTS, latent
from advkd.browse.error_curve import error_curve
from advkd.browse.errors import NotShownError, RequestError
from advkd.browse.histograms import histograms
from advkd.browse.labels import class_numbers, classes_of, condition_text, conditioned, matching
from advkd.browse.sample_map import sample_map
from advkd.browse.shard_map import shard_map
from advkd.browse.sheets import MOST_SAMPLES, Sheet, parse_samples
from advkd.browse.shown import Answer, Shown, answer_key
from advkd.browse.sorting import STATISTICS, SortedSamples, at_random, by_number, by_statistic, by_student, kept
from advkd.browse.store_list import store_rows
from advkd.browse.store_view import StoreSnapshot
from advkd.browse.students import ShownStudent, clean_image, implies_clean

ORDERS = ("number", *STATISTICS, "distance", "random", "disagreement")
SCALES = ("0.5", "0.05", "0.1", "0.25", "1", "2")
"""Differences that are shown in white, the default first; values lie in [-1, 1]."""
NO_STORE = {"Cache-Control": "no-store"}
_KEEP = {"Cache-Control": "private, max-age=3600"}
_MOST_SEED = 10**15 - 1
_LONGEST_WORDS = 100


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
    left, right = _sides(request)
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


def order(request: Request) -> Response:
    """Answers `/api/stores/{store}/order?by=norm&t=0&seed=0&label=3&q=cat&student=0`: sample numbers and their subset.

    `q` keeps the samples whose class or prompt holds all words; `labels` are their classes, where these were told.
    """
    view, held = view_of(request), shown(request)
    by = query.choice(request, "by", ORDERS[:-1])
    t = query.timestep(request, view.spec.timesteps)
    seed = query.integer(request, "seed", 0, 0, _MOST_SEED)
    classes = classes_of(view)
    label = query.integer(request, "label", -1, 0, 9 if classes is None else len(classes.names) - 1)
    student = held.student(request.query_params.get("student", "") or "0", view) if by == "distance" else None
    if label >= 0 and classes is None:
        raise RequestError(
            "only samples of teachers with classes or prompts and grey 16x16 digits have labels, and this store holds "
            "none; drop label"
        )

    words = request.query_params.get("q", "")[:_LONGEST_WORDS]
    meant = matching(view, words) if words.strip() else None
    if words.strip() and meant is None:
        raise RequestError("only samples of teachers with classes or prompts are searched by words, got q; drop it")

    def make() -> SortedSamples:
        samples = _order(view, by, t, seed, student)
        if meant is not None:
            samples = kept(samples, class_numbers(view, samples.samples), meant, f'with "{words.strip()}"')
        if label < 0 or classes is None:
            return samples
        told = classes.told.format(classes.names[label])
        return kept(samples, class_numbers(view, samples.samples), [label], told)

    key = answer_key(
        "order", view.store.name, view.stamp, by, t, seed, label, words, None if student is None else student.name
    )
    ordered = held.order(key, make)
    told = {"labels": class_numbers(view, ordered.samples).tolist()} if conditioned(view) else {}
    return JSONResponse(ordered.to_json() | {"by": by, "t": t, "seed": seed} | told, headers=NO_STORE)


def compare_order(request: Request) -> Response:
    """Answers `/api/compare/order?left=..&right=..&t=0&seed=0`: sample numbers, largest disagreement first."""
    left, right = _sides(request)
    t = query.timestep(request, left.timesteps())
    seed = query.integer(request, "seed", 0, 0, _MOST_SEED)
    key = answer_key("compare", left.name, right.name, left.view.stamp, right.view.stamp, t, seed)
    ordered = shown(request).order(key, lambda: by_disagreement(left, right, t, seed))
    return JSONResponse(ordered.to_json() | {"by": "disagreement", "t": t, "seed": seed}, headers=NO_STORE)


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


def histogram(request: Request) -> Response:
    """Answers `/api/stores/{store}/histograms`: the distribution of the values of every timestep, over a subset."""
    view = view_of(request)
    key = answer_key("histograms", view.store.name, view.stamp)
    return _kept_json(request, view, key, lambda: histograms(view))


def errors(request: Request) -> Response:
    """Answers `/api/stores/{store}/errors?student=0&seed=0`: a student's error at every timestep, over a subset."""
    view, held = view_of(request), shown(request)
    student = held.student(request.query_params.get("student", "") or "0", view)
    assert student is not None
    seed = query.integer(request, "seed", 0, 0, _MOST_SEED)
    key = answer_key("errors", view.store.name, view.stamp, student.name, seed)
    return _kept_json(request, view, key, lambda: error_curve(view, student, seed))


def places(request: Request) -> Response:
    """Answers `/api/stores/{store}/map?t=0&seed=0&student=0`: places of samples on the map, student empty for none."""
    view, held = view_of(request), shown(request)
    t, seed = query.timestep(request, view.spec.timesteps), query.integer(request, "seed", 0, 0, _MOST_SEED)
    student = held.student(request.query_params.get("student", ""), view)
    if student is not None and t not in student.shared_timesteps(view.spec):
        shared = list(student.shared_timesteps(view.spec))
        raise RequestError(f"the student predicts the timesteps {shared}, got t={t}; choose one of them")
    key = answer_key("map", view.store.name, view.stamp, student and student.name, t, seed)
    return _kept_json(request, view, key, lambda: sample_map(view, t, seed, student))


def conditions(request: Request) -> Response:
    """Answers `/api/stores/{store}/conditions?samples=0-99`: what the teacher was told of each sample, in words."""
    view = view_of(request)
    samples = parse_samples(request.query_params.get("samples", ""), view.num_samples)
    return JSONResponse({"texts": [condition_text(view, sample) for sample in samples]}, headers=NO_STORE)


async def notes(request: Request) -> Response:
    """Answers `/api/stores/{store}/notes`: texts by sample; a POST of {"5": "blurred", "7": null} keeps and removes."""
    kept_notes, view = shown(request).notes, await run_in_threadpool(view_of, request)
    if kept_notes is None:
        raise NotShownError(
            "notes are kept if `advkd browse` is started with --notes FILE, and it was not; restart it so"
        )
    if request.method == "POST":
        try:
            said = json.loads(await request.body())
            texts = {query.sample(sample, view.num_samples): text for sample, text in said.items()}
        except ClientDisconnect:
            return Response(status_code=400)
        except (ValueError, AttributeError) as error:
            raise RequestError('notes are JSON like {"5": "blurred", "7": null}, got another; send that') from error
        await run_in_threadpool(kept_notes.write, view.store.name, texts)
    return JSONResponse({"notes": kept_notes.of(view.store.name)}, headers=NO_STORE)


def stores(request: Request) -> Response:
    """Answers `/api/stores`: the list of stores as far as it has been read."""
    catalogue = shown(request).catalogue
    rows = store_rows(catalogue.stores())
    return JSONResponse({"stores": rows, "reading": catalogue.reading}, headers=NO_STORE)


def _kept_json(request: Request, view: StoreSnapshot, key: Answer, make: Callable[[], dict[str, Any]]) -> Response:
    """Answers with JSON that is kept, unless samples were missing."""
    body = shown(request).answer(
        key,
        lambda: json.dumps(make(), separators=(",", ":")).encode(),
        lambda made: None if view.store.marks.all() else len(made),
    )
    return Response(body, media_type="application/json", headers=NO_STORE)


def _sides(request: Request) -> tuple[Side, Side]:
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


def _order(view: StoreSnapshot, by: str, t: int, seed: int, student: ShownStudent | None) -> SortedSamples:
    if by in STATISTICS:
        return by_statistic(view, by, t, seed)
    if by == "random":
        return at_random(view, seed)
    if student is not None:
        shared = student.shared_timesteps(view.spec)
        if t not in shared:
            raise RequestError(f"the student predicts the timesteps {list(shared)}, got t={t}; choose one of them")
        return by_student(view, student, t, seed)
    return by_number(view, t, seed)


ROUTES = [
    Route("/api/stores", stores),
    Route("/api/sheet/{side}", sheet),
    Route("/api/stores/{store}/values/{sample}", values),
    Route("/api/stores/{store}/order", order),
    Route("/api/stores/{store}/shards", shards),
    Route("/api/stores/{store}/check/{shard}", check),
    Route("/api/stores/{store}/histograms", histogram),
    Route("/api/stores/{store}/errors", errors),
    Route("/api/stores/{store}/map", places),
    Route("/api/stores/{store}/conditions", conditions),
    Route("/api/stores/{store}/notes", notes, methods=["GET", "POST"]),
    Route("/api/compare/order", compare_order),
    Route("/api/difference", difference),
]
