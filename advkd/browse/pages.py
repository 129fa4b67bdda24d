"""The pages: the HTML holds what is known when it is made, and a script of the same name updates it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from advkd.browse import query
from advkd.browse.access import GUARDED, NEXT
from advkd.browse.api import SCALES, shown, view_of
from advkd.browse.comparing import Side, comparable
from advkd.browse.decoding import ALL, DECODED
from advkd.browse.display import largest_tile
from advkd.browse.errors import RequestError, Told
from advkd.browse.export import FORMS as EXPORTS
from advkd.browse.export import exported
from advkd.browse.labels import classes_of, condition_text, conditioned
from advkd.browse.sheets import first_samples, parse_samples
from advkd.browse.shown import Shown, grid_facts, grid_of
from advkd.browse.store_view import StoreSnapshot
from advkd.text import age_text, facts_rows, grid_rows, size_text, statistics_rows
from storage import StoreSummary, measure_growth
from storage.records import committed_shards

_BAND, _DECODED_BAND, _PREVIEW = 16, 4, 8
"""Samples at the head of a store's page, where they are decoded, and in a row of the list."""
_FIRST_ROWS = 30
"""Rows of a list that is being read, until the page's script asks for the others: more would be there later."""
_STATISTICS = ("timestep", "mean", "std", "min", "max", "max error", "bound", "rms error", "rms detail")
_GRID = ("timestep", "stored as", "a_t", "s_t", "H x W", "bytes/sample")
_NAMES = {DECODED: "decoded", ALL: "all channels"}
_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(default=True, default_for_string=True),
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters |= {"thousands": "{:,}".format, "size": size_text, "age": age_text}


def stores(request: Request) -> Response:
    """Answers `/`: all stores. A list decodes nothing, for it may be long."""
    catalogue = shown(request).catalogue
    listed, reading = catalogue.stores(), catalogue.reading
    if reading and "all" not in request.query_params:
        listed = listed[:_FIRST_ROWS]
    previews = {
        one.name: first_samples(one.summary.num_samples, _PREVIEW, largest_tile(one.summary.spec))
        for one in listed
        if one.name is not None and one.summary.spec is not None
    }
    return _page(request, "stores.html", rows=listed, previews=previews, reading=reading)


def store(request: Request) -> Response:
    """Answers `/s/{store}`: everything that is known about a store."""
    view = view_of(request)
    look = shown(request).decoders.look(view)
    band = first_samples(view.num_samples, _BAND if look.space is None else _DECODED_BAND, look.largest)
    manifest, uri = view.manifest if view.sealed else None, view.store.uri
    summary = StoreSummary(
        uri=uri,
        state="sealed" if view.sealed else "growing",
        spec=view.spec,
        num_samples=view.num_samples,
        num_shards=view.manifest.num_shards,
        total_bytes=view.manifest.total_bytes,
    )
    extension = len(committed_shards(uri, after=manifest.num_shards - 1)) if manifest else 0
    facts = facts_rows(summary, view.spec, manifest, extension, None if manifest else measure_growth(uri, view.spec))
    tables = {
        "Statistics of all samples": (_STATISTICS, statistics_rows(manifest) if manifest else []),
        "Grid": (_GRID, grid_rows(view.spec)),
    }
    return _page(request, "store.html", **_of(request, view), facts=facts, band=band, tables=tables)


def gallery(request: Request) -> Response:
    """Answers `/s/{store}/gallery`: a wall of samples; with `with={side}` another beside it, and their difference."""
    view, held, text = view_of(request), shown(request), request.query_params.get("with", "")
    other = held.side(text, beside=Side(view)) if text else None
    both = None if other is None else held.looks(view, other.view)
    looks = [held.decoders.look(view, how) for how in held.decoders.ways(view)] if both is None else [both[0]]
    # The empty value is the default.
    ways = {look.how if k else "": look for k, look in enumerate(looks)}
    more: dict[str, Any] = {"looks": {value: grid_of(look) for value, look in ways.items()}}
    if other is not None and both is not None:
        facts = {"side": text, "timesteps": other.timesteps(), "samples": other.view.num_samples, **grid_of(both[1])}
        more["beside"] = {"store": other.view.store.name, "refused": comparable(view, other.view), **facts}
    return _page(
        request, "gallery.html", **_of(request, view, more), classes=classes_of(view),
        ways={value: _NAMES.get(look.how, f"channel {look.how}") for value, look in ways.items()},
        choices=_choices(held, [view] if other is None or other.view is view else [view, other.view]),
        scales=sorted(SCALES, key=float),
    )  # fmt: skip


def _choices(held: Shown, views: Sequence[StoreSnapshot]) -> dict[str, str]:
    """Returns what a wall can stand beside, by its name in links: stores, and the students that fit them."""
    choices = {}
    for view in views:
        name, spec = view.store.name, view.spec
        choices[name] = f"{spec.teacher} {name[:8]} ({spec.sampler}, {spec.solver_steps} steps)"
        for student in held.students_of(spec):
            if student["refused"] is None:
                choices[f"{name}~{student['number']}"] = f"{student['name']} on {name[:8]}"
    return choices


def sample_map(request: Request) -> Response:
    """Answers `/s/{store}/map`: samples by the first two principal components."""
    view = view_of(request)
    # Then the browser can ask for the places before its scripts are there.
    plain = not {"t", "seed", "student"} & request.query_params.keys()
    return _page(request, "map.html", **_of(request, view), classes=classes_of(view), plain=plain)


def export(request: Request) -> Response:
    """Answers `/s/{store}/export.{form}?samples=5,17&student=0`: a file."""
    view, held, form = view_of(request), shown(request), request.path_params["form"]
    if form not in EXPORTS:
        raise RequestError(f"samples can be had as {', '.join(EXPORTS)}, got {form[:20]!r}; choose one of them")
    samples = parse_samples(request.query_params.get("samples", ""), view.num_samples)
    what = f"sample-{samples[0]}" if len(samples) == 1 else f"{len(samples)}-samples"
    students = held.chosen(request.query_params.getlist("student"), view)
    body = exported(view, samples, students, form, held.decoders.look(view))
    headers = {"Content-Disposition": f'attachment; filename="{view.spec.teacher}-{view.store.name}-{what}.{form}"'}
    return Response(body, media_type=EXPORTS[form], headers=headers)


def sample(request: Request) -> Response:
    """Answers `/s/{store}/sample/{sample}`: a trajectory."""
    view = view_of(request)
    index = query.sample(request.path_params["sample"], view.num_samples)
    told = condition_text(view, index)
    return _page(request, "sample.html", **_of(request, view, {"sample": index}), sample=index, condition=told)


def jump(request: Request) -> Response:
    """Answers `/s/{store}/sample?i=5`: redirects to the sample whose number was typed in."""
    view = view_of(request)
    index = query.sample(request.query_params.get("i", "").strip().replace(",", ""), view.num_samples)
    return RedirectResponse(f"/s/{view.store.name}/sample/{index}", 303)


def error_page(request: Request, kind: Told, message: str, headers: dict[str, str]) -> Response:
    """Returns a page with the error and its remedy, which reloads itself if trying again may help."""
    _, kind_of_page, name, *rest = [*request.url.path.split("/"), "", ""]
    store = name if kind_of_page == "s" and any(rest) and shown(request).catalogue.knows(name) else None
    # What may help is asking again: the browser does.
    headers |= {"Refresh": "3"} if kind.passing else {}
    return _page(request, "error.html", status=kind.status, headers=headers, told=kind, message=message, back=store)


def token_page(request: Request) -> Response:
    """Returns the page that asks for the token."""
    asked = request.scope.get(NEXT, "/")
    return _page(request, "token.html", status=401, tried=request.method == "POST", asked=asked)


def _of(request: Request, view: StoreSnapshot, more: dict[str, Any] | None = None) -> dict[str, Any]:
    """Returns the template variables of every page of a store."""
    data = {
        "store": view.store.name,
        "sealed": view.sealed,
        "samples": view.num_samples,
        **grid_of(shown(request).decoders.look(view)),
        "students": shown(request).students_of(view.spec),
        "notes": shown(request).notes is not None,
        "conditioned": conditioned(view),
        **grid_facts(view.spec),
        **(more or {}),
    }
    return {"store": view.store, "view": view, "spec": view.spec, "data": data}


def _page(
    request: Request, template: str, *, status: int = 200, headers: dict[str, str] | None = None, **context: Any
) -> Response:
    context |= {"guarded": request.scope.get(GUARDED, False), "tab": Path(template).stem}
    context["data_json"] = json.dumps(context.get("data", {}), separators=(",", ":"))
    return HTMLResponse(_TEMPLATES.get_template(template).render(**context), status, headers=headers)


ROUTES = [
    Route("/", stores),
    Route("/s/{store}", store),
    Route("/s/{store}/gallery", gallery),
    Route("/s/{store}/map", sample_map),
    Route("/s/{store}/export.{form}", export),
    Route("/s/{store}/sample", jump),
    Route("/s/{store}/sample/{sample}", sample),
]
