"""Routes for the pages' scripts: pictures, orders, distributions, the map, notes. See `docs/browse.md`.

Notes alone are written; everything else only reads.
"""

import json
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from advkd.browse import query
from advkd.browse.decoding import DECODED
from advkd.browse.display import latent
from advkd.browse.errors import NotShownError, RequestError
from advkd.browse.labels import class_numbers, classes_of, condition_text, matching
from advkd.browse.overview import error_curve, histograms, sample_map
from advkd.browse.sheets import MOST_SAMPLES, parse_samples
from advkd.browse.shown import Shown, answer_key
from advkd.browse.sorting import STATISTICS, SortedSamples, by_distance, by_number, by_statistic, kept
from advkd.browse.store_view import StoreSnapshot
from advkd.browse.strip import strip

SCALES = ("0.5", "0.05", "0.1", "0.25", "1", "2")
"""Differences that are shown in white, the default first; values lie in [-1, 1]."""
ORDERS = ("number", *STATISTICS, "distance")
_MOST_SEED = 10**15 - 1
_LONGEST_WORDS = 100
_NO_STORE = {"Cache-Control": "no-store"}
_KEEP = {"Cache-Control": "private, max-age=3600"}


def shown(request: Request) -> Shown:
    """Returns what the server holds."""
    held: Shown = request.app.state.shown
    return held


def view_of(request: Request) -> StoreSnapshot:
    """Returns the store that a path names, as it is at the moment of the request."""
    return shown(request).catalogue.store(request.path_params["store"]).view()


def sheet(request: Request) -> Response:
    """Answers `/api/sheet/{side}?samples=0-99&t=0&columns=10`: a PNG, described in `X-Advkd-Sheet`.

    With `less={side}&most=0.5` it shows how far the two sides are apart, in white from `most` on.
    """
    held, asked = shown(request), request.query_params
    side = held.side(request.path_params["side"])
    view, t = side.view, query.timestep(request, side.timesteps())
    other = held.side(asked["less"], beside=side) if asked.get("less") else None
    there = view.num_samples if other is None else min(view.num_samples, other.view.num_samples)
    samples = parse_samples(asked.get("samples", ""), there)
    columns = query.integer(request, "columns", 0, 1, MOST_SAMPLES) or None
    how = query.choice(request, "as", tuple(held.decoders.ways(view)))
    less = None if other is None else (other, float(query.choice(request, "most", SCALES)))
    made = held.sheet(side, samples, t, columns, how, less)
    # Not cached by the browser: a student may have another number in the next session, marked shards may be
    # repaired, and the seal and `--decode` change how latents are shown.
    same = not latent(view.spec) or (view.sealed and "as" in asked)
    keep = same and side.student is None and other is None and not made.marks
    facts = json.dumps(made.to_json(), separators=(",", ":"))
    return Response(made.png, media_type="image/png", headers=(_KEEP if keep else _NO_STORE) | {"X-Advkd-Sheet": facts})


def trajectory(request: Request) -> Response:
    """Answers `/api/stores/{store}/strip/{sample}?student=0&own=1&as=2`: the rows of a trajectory, see `strip`."""
    view, held = view_of(request), shown(request)
    index = query.sample(request.path_params["sample"], view.num_samples)
    how = query.choice(request, "as", tuple(way for way in held.decoders.ways(view) if way != DECODED))
    looks = held.decoders.look(view, how), held.decoders.look(view)
    rows = strip(view, index, held.chosen(request.query_params.getlist("student"), view), looks)
    own = query.choice(request, "own", ("0", "1")) == "1"
    return JSONResponse({"rows": [row.to_json(rows, own) for row in rows]}, headers=_NO_STORE)


def state(request: Request) -> Response:
    """Answers `/api/stores/{store}/state`: whether it grows, and how far; pages poll it."""
    view = view_of(request)
    told = {"state": "sealed" if view.sealed else "growing", "stamp": view.stamp, "samples": view.num_samples}
    return JSONResponse(told, headers=_NO_STORE)


def order(request: Request) -> Response:
    """Answers `/api/stores/{side}/order?by=norm&t=0&seed=0&label=3&q=cat`: sample numbers and their subset.

    `by=distance&to={side}` is the root mean square to another side, `to` by default the first student. `q` keeps the
    samples whose class or prompt holds all words; `labels` are their classes, where these were told.
    """
    held, asked = shown(request), request.query_params
    side = held.side(request.path_params["side"])
    view, by, t = side.view, query.choice(request, "by", ORDERS), query.timestep(request, side.timesteps())
    seed = query.integer(request, "seed", 0, 0, _MOST_SEED)
    to = asked.get("to") or f"{view.store.name}~0"
    other = held.side(to, beside=side, timestep=t) if by == "distance" else None
    classes, words = classes_of(view), asked.get("q", "")[:_LONGEST_WORDS].strip()
    label = query.integer(request, "label", -1, 0, len(classes.names) - 1 if classes else 0)
    meant = matching(view, words) if words else None
    if classes is None and (label >= 0 or words):
        raise RequestError(
            "only samples of teachers with classes or prompts have labels and are searched by words, and this store "
            f"holds none; drop {'q' if words else 'label'}"
        )

    def sort() -> SortedSamples:
        if other is not None:
            return by_distance(side, other, t, seed)
        return by_number(view, t, seed) if by == "number" else by_statistic(view, by, t, seed)

    def make() -> SortedSamples:
        samples = sort()
        if meant is not None:
            samples = kept(samples, class_numbers(view, samples.samples), meant, f'with "{words}"')
        if label < 0 or classes is None:
            return samples
        told = classes.told.format(classes.names[label])
        return kept(samples, class_numbers(view, samples.samples), [label], told)

    against = None if other is None else (other.name, other.view.stamp)
    key = answer_key("order", side.name, view.stamp, by, t, seed, label, words, against)
    ordered = held.answer(key, make, lambda made: None if made.unreadable else made.held_bytes)
    told = {"labels": class_numbers(view, ordered.samples).tolist()} if classes else {}
    return JSONResponse(ordered.to_json() | told, headers=_NO_STORE)


def histogram(request: Request) -> Response:
    """Answers `/api/stores/{store}/histograms`: the distribution of the values of every timestep, over a subset."""
    view = view_of(request)
    return _kept_json(request, view, "histograms", (), lambda: histograms(view))


def errors(request: Request) -> Response:
    """Answers `/api/stores/{store}/errors?student=0&seed=0`: a student's error at every timestep, over a subset."""
    view = view_of(request)
    student = shown(request).student(request.query_params.get("student", "") or "0", view)
    seed = query.integer(request, "seed", 0, 0, _MOST_SEED)
    return _kept_json(request, view, "errors", (student.name, seed), lambda: error_curve(view, student, seed))


def places(request: Request) -> Response:
    """Answers `/api/stores/{store}/map?t=0&seed=0&student=0`: places of samples on the map, student empty for none."""
    view, number = view_of(request), request.query_params.get("student", "")
    t, seed = query.timestep(request, view.spec.timesteps), query.integer(request, "seed", 0, 0, _MOST_SEED)
    student = shown(request).student(number, view, t) if number else None
    parts = student and student.name, t, seed
    return _kept_json(request, view, "map", parts, lambda: sample_map(view, t, seed, student))


def conditions(request: Request) -> Response:
    """Answers `/api/stores/{store}/conditions?samples=0-99`: what the teacher was told of each sample, in words."""
    view = view_of(request)
    samples = parse_samples(request.query_params.get("samples", ""), view.num_samples)
    return JSONResponse({"texts": [condition_text(view, sample) for sample in samples]}, headers=_NO_STORE)


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
    return JSONResponse({"notes": kept_notes.of(view.store.name)}, headers=_NO_STORE)


def _kept_json(
    request: Request, view: StoreSnapshot, route: str, parts: tuple[object, ...], make: Callable[[], dict[str, Any]]
) -> Response:
    """Answers with JSON that is kept, unless samples were missing."""
    before = view.store.failures
    body = shown(request).answer(
        answer_key(route, view.store.name, view.stamp, parts),
        lambda: json.dumps(make(), separators=(",", ":")).encode(),
        lambda made: len(made) if view.store.failures == before else None,
    )
    return Response(body, media_type="application/json", headers=_NO_STORE)


ROUTES = [
    Route("/api/sheet/{side}", sheet),
    Route("/api/stores/{store}/strip/{sample}", trajectory),
    Route("/api/stores/{store}/state", state),
    Route("/api/stores/{side}/order", order),
    Route("/api/stores/{store}/histograms", histogram),
    Route("/api/stores/{store}/errors", errors),
    Route("/api/stores/{store}/map", places),
    Route("/api/stores/{store}/conditions", conditions),
    Route("/api/stores/{store}/notes", notes, methods=["GET", "POST"]),
]
