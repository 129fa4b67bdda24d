"""Routes about many samples: orders, distributions, errors, the map, conditions; and notes, which alone are written."""

import json
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from advkd.browse import query
from advkd.browse.api import NO_STORE, both_sides, shown, view_of
from advkd.browse.comparing import by_disagreement
from advkd.browse.distributions import error_curve, histograms
from advkd.browse.errors import NotShownError, RequestError
from advkd.browse.labels import class_numbers, classes_of, condition_text, matching
from advkd.browse.sample_map import sample_map
from advkd.browse.sheets import parse_samples
from advkd.browse.shown import Answer, answer_key
from advkd.browse.sorting import STATISTICS, SortedSamples, at_random, by_number, by_statistic, by_student, kept
from advkd.browse.store_view import StoreSnapshot
from advkd.browse.students import ShownStudent

ORDERS = ("number", *STATISTICS, "distance", "random")
_MOST_SEED = 10**15 - 1
_LONGEST_WORDS = 100


def order(request: Request) -> Response:
    """Answers `/api/stores/{store}/order?by=norm&t=0&seed=0&label=3&q=cat&student=0`: sample numbers and their subset.

    `q` keeps the samples whose class or prompt holds all words; `labels` are their classes, where these were told.
    """
    view, held = view_of(request), shown(request)
    by = query.choice(request, "by", ORDERS)
    t = query.timestep(request, view.spec.timesteps)
    seed = query.integer(request, "seed", 0, 0, _MOST_SEED)
    student = held.student(request.query_params.get("student", "") or "0", view, t) if by == "distance" else None
    classes, words = classes_of(view), request.query_params.get("q", "")[:_LONGEST_WORDS].strip()
    label = query.integer(request, "label", -1, 0, len(classes.names) - 1 if classes else 0)
    meant = matching(view, words) if words else None
    if classes is None and (label >= 0 or words):
        raise RequestError(
            "only samples of teachers with classes or prompts have labels and are searched by words, and this store "
            f"holds none; drop {'q' if words else 'label'}"
        )

    def make() -> SortedSamples:
        samples = _order(view, by, t, seed, student)
        if meant is not None:
            samples = kept(samples, class_numbers(view, samples.samples), meant, f'with "{words}"')
        if label < 0 or classes is None:
            return samples
        told = classes.told.format(classes.names[label])
        return kept(samples, class_numbers(view, samples.samples), [label], told)

    named = None if student is None else student.name
    ordered = held.order(answer_key("order", view.store.name, view.stamp, by, t, seed, label, words, named), make)
    told = {"labels": class_numbers(view, ordered.samples).tolist()} if classes else {}
    return JSONResponse(ordered.to_json() | told, headers=NO_STORE)


def compare_order(request: Request) -> Response:
    """Answers `/api/compare/order?left=..&right=..&t=0&seed=0`: sample numbers, largest disagreement first."""
    left, right = both_sides(request)
    t = query.timestep(request, left.timesteps())
    seed = query.integer(request, "seed", 0, 0, _MOST_SEED)
    key = answer_key("compare", left.name, right.name, left.view.stamp, right.view.stamp, t, seed)
    ordered = shown(request).order(key, lambda: by_disagreement(left, right, t, seed))
    return JSONResponse(ordered.to_json(), headers=NO_STORE)


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
    student = held.student(request.query_params.get("student", ""), view, t)
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


def _kept_json(request: Request, view: StoreSnapshot, key: Answer, make: Callable[[], dict[str, Any]]) -> Response:
    """Answers with JSON that is kept, unless samples were missing."""
    body = shown(request).answer(
        key,
        lambda: json.dumps(make(), separators=(",", ":")).encode(),
        lambda made: None if view.store.marks.all() else len(made),
    )
    return Response(body, media_type="application/json", headers=NO_STORE)


def _order(view: StoreSnapshot, by: str, t: int, seed: int, student: ShownStudent | None) -> SortedSamples:
    if by in STATISTICS:
        return by_statistic(view, by, t, seed)
    if by == "random":
        return at_random(view, seed)
    if student is not None:
        return by_student(view, student, t, seed)
    return by_number(view, t, seed)


ROUTES = [
    Route("/api/stores/{store}/order", order),
    Route("/api/compare/order", compare_order),
    Route("/api/stores/{store}/histograms", histogram),
    Route("/api/stores/{store}/errors", errors),
    Route("/api/stores/{store}/map", places),
    Route("/api/stores/{store}/conditions", conditions),
    Route("/api/stores/{store}/notes", notes, methods=["GET", "POST"]),
]
