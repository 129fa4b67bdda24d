"""The pages: the HTML holds what is known when it is made, and a script of the same name updates it."""

import json
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
from advkd.browse.downloads import film_gif, numbers_npz, strip_png
from advkd.browse.errors import RequestError, Told
from advkd.browse.export import FORMS as EXPORTS
from advkd.browse.export import exported
from advkd.browse.facts import store_facts
from advkd.browse.labels import classes_of, condition_text, conditioned
from advkd.browse.sheets import first_samples, fitting_samples, parse_samples
from advkd.browse.shown import grid_facts, largest_tile
from advkd.browse.store_list import store_rows
from advkd.browse.store_view import StoreSnapshot
from storage import ShardCorruptError, StoreIncompleteError

_BAND = 16
_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(default=True, default_for_string=True),
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters["thousands"] = lambda value: f"{value:,}"


def stores(request: Request) -> Response:
    """Answers `/`: all stores."""
    catalogue = shown(request).catalogue
    rows = store_rows(catalogue.stores())
    return _page(request, "stores.html", rows=rows, reading=catalogue.reading, data={"page": "stores"})


def store(request: Request) -> Response:
    """Answers `/s/{store}`: everything that is known about a store."""
    view = view_of(request)
    facts = store_facts(view)
    band = first_samples(view.num_samples, _BAND, largest_tile(view.spec))
    return _page(request, "store.html", **_of(request, view), facts=facts, band=band)


def gallery(request: Request) -> Response:
    """Answers `/s/{store}/gallery`: a wall of samples."""
    view = view_of(request)
    first = f"0-{min(_chunk(view), view.num_samples) - 1}" if view.num_samples else ""
    held = shown(request)
    ways = held.decoders.ways(view)
    looks = {way["value"]: held.decoders.look(view, way["value"]).largest for way in ways}
    # The empty value is the default where nothing is decoded.
    more = {"looks": {how: {"tile": tile, "chunk": fitting_samples(*tile)} for how, tile in looks.items()}}
    return _page(
        request, "gallery.html", **_of(request, view, more), classes=classes_of(view), first=first, ways=ways,
        searched=conditioned(view),
    )  # fmt: skip


def sample_map(request: Request) -> Response:
    """Answers `/s/{store}/map`: samples by the first two principal components."""
    view = view_of(request)
    return _page(request, "map.html", **_of(request, view), classes=classes_of(view))


def export(request: Request) -> Response:
    """Answers `/s/{store}/export.{form}?samples=5,17&student=0`: samples as npz, PNG or CSV, with students' outputs."""
    view, held = view_of(request), shown(request)
    form = request.path_params["form"]
    if form not in EXPORTS:
        raise RequestError(f"samples can be had as {', '.join(EXPORTS)}, got {form[:20]!r}; choose one of them")
    samples = parse_samples(request.query_params.get("samples", ""), view.num_samples)
    students = [held.student(number, view) for number in sorted(set(request.query_params.getlist("student")))]
    look = held.decoders.look(view, next(iter(held.decoders.ways(view)), {"value": ALL})["value"])
    body = exported(view, samples, [one for one in students if one is not None], form, look)
    name = f"{view.spec.teacher}-{view.store.name}-{len(samples)}-samples.{form}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(body, media_type=EXPORTS[form], headers=headers)


def sample(request: Request) -> Response:
    """Answers `/s/{store}/sample/{sample}`: a trajectory."""
    view = view_of(request)
    index = query.sample(request.path_params["sample"], view.num_samples)
    return _page(
        request,
        "sample.html",
        **_of(request, view, {"sample": index}),
        sample=index,
        condition=condition_text(view, index),
    )


def jump(request: Request) -> Response:
    """Answers `/s/{store}/sample?i=5`: redirects to the sample whose number was typed in."""
    view = view_of(request)
    index = query.sample(request.query_params.get("i", "").strip().replace(",", ""), view.num_samples)
    return RedirectResponse(f"/s/{view.store.name}/sample/{index}", 303)


def download(request: Request) -> Response:
    """Answers `/s/{store}/sample/{sample}.png`, `.gif` or `.npz`: a trajectory as a file."""
    view = view_of(request)
    index = query.sample(request.path_params["sample"], view.num_samples)
    form = request.path_params["form"]
    if form not in _FORMS:
        raise RequestError(f"a trajectory can be had as {', '.join(_FORMS)}, got {form[:20]!r}; choose one of them")
    looked = view.read([index], view.spec.timesteps)
    if looked.marks:
        mark = looked.marks[index]
        raise (StoreIncompleteError if mark.kind == "pending" else ShardCorruptError)(mark.message)
    kind = _FORMS[form]
    body = numbers_npz(looked.states) if form == "npz" else _DRAWN[form](view, looked.states)
    name = f"{view.spec.teacher}-{view.store.name}-sample-{index}.{form}"
    inline = form != "npz" and request.query_params.get("inline") == "1"
    headers = {"Content-Disposition": "inline" if inline else f'attachment; filename="{name}"'}
    return Response(body, media_type=kind, headers=headers)


def compare(request: Request) -> Response:
    """Answers `/compare?left=..&right=..`: two stores, or two students, side by side."""
    held = shown(request)
    choices = []
    for listed in held.catalogue.stores():
        spec, name = listed.summary.spec, listed.name
        if spec is None or name is None:
            continue
        label = f"{spec.teacher} {name[:8]} ({spec.sampler}, {spec.solver_steps} steps, {spec.layout})"
        choices.append({"value": name, "label": label})
        for student in held.students_of(spec):
            if student["refused"] is None:
                choices.append({"value": f"{name}~{student['number']}", "label": f"{student['name']} on {name[:8]}"})
    compared: dict[str, Side] = {}
    sides: dict[str, dict[str, Any]] = {}
    for position, which in enumerate(("left", "right")):
        text = request.query_params.get(which, "") or (
            choices[min(position, len(choices) - 1)]["value"] if choices else ""
        )
        if not text:
            continue
        side = compared[which] = held.side(text, beside=compared.get("left"))
        view = side.view
        sides[which] = {
            "side": text,
            "store": view.store.name,
            "samples": view.num_samples,
            **grid_facts(view.spec),
            "timesteps": list(side.timesteps()),
            "chunk": _chunk(view),
            "student": None if side.student is None else side.student.name,
        }
    refused = comparable(compared["left"].view, compared["right"].view) if compared else None
    return _page(
        request,
        "compare.html",
        choices=choices,
        sides=sides,
        refused=refused,
        scales=sorted(SCALES, key=float),
        data={"page": "compare", "sides": sides, "subtracted": refused is None},
    )


def favicon(request: Request) -> Response:
    """Answers the default address of the icon."""
    return RedirectResponse("/static/favicon.svg", 308)


def error_page(request: Request, kind: Told, message: str, headers: dict[str, str]) -> Response:
    """Returns a page with the error and its remedy, which reloads itself if trying again may help."""
    data = {"page": "error", "passing": kind.passing}
    _, kind_of_page, name, *rest = [*request.url.path.split("/"), "", ""]
    store = name if kind_of_page == "s" and any(rest) and shown(request).catalogue.knows(name) else None
    return _page(
        request, "error.html", status=kind.status, headers=headers, told=kind, message=message, data=data, back=store
    )


def token_page(request: Request) -> Response:
    """Returns the page that asks for the token."""
    asked = request.scope.get(NEXT, "/")
    return _page(request, "token.html", status=401, data={"page": "token"}, tried=request.method == "POST", asked=asked)


def _of(request: Request, view: StoreSnapshot, more: dict[str, Any] | None = None) -> dict[str, Any]:
    """Returns the template variables of every page of a store."""
    data = {
        "page": Path(request.url.path).name,
        "store": view.store.name,
        "sealed": view.sealed,
        "samples": view.num_samples,
        "chunk": _chunk(view),
        "students": shown(request).students_of(view.spec),
        "notes": shown(request).notes is not None,
        "conditioned": conditioned(view),
        "ways": "" if shown(request).decoders.space(view) is None else DECODED,
        **grid_facts(view.spec),
        **(more or {}),
    }
    return {"store": view.store, "view": view, "spec": view.spec, "data": data}


def _chunk(view: StoreSnapshot) -> int:
    return fitting_samples(*largest_tile(view.spec))


def _page(
    request: Request, template: str, *, status: int = 200, headers: dict[str, str] | None = None, **context: Any
) -> Response:
    context["guarded"] = request.scope.get(GUARDED, False)
    context["data_json"] = json.dumps(context.get("data", {}), separators=(",", ":"))
    return HTMLResponse(_TEMPLATES.get_template(template).render(**context), status, headers=headers)


_FORMS = {"png": "image/png", "gif": "image/gif", "npz": "application/zip"}
_DRAWN = {"png": strip_png, "gif": film_gif}

ROUTES = [
    Route("/", stores),
    Route("/compare", compare),
    Route("/favicon.ico", favicon),
    Route("/s/{store}", store),
    Route("/s/{store}/gallery", gallery),
    Route("/s/{store}/map", sample_map),
    Route("/s/{store}/export.{form}", export),
    Route("/s/{store}/sample", jump),
    Route("/s/{store}/sample/{sample}.{form}", download),
    Route("/s/{store}/sample/{sample}", sample),
]
