"""Shows a student's training from its observations: a picture with small plots, and a sentence."""

import io
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from advkd.evaluation.pictures import STUDENT_COLOUR, TEACHER_COLOUR
from advkd.students import OBSERVATIONS
from advkd.training import Observation, SubmoduleObservation, observations_from_json

logger = logging.getLogger(__name__)

DISCRIMINATOR_COLOUR = "#8f7fd6"
_FEW = 30
_WIDTH = 1.5


def read_observations(student: Path) -> tuple[Observation, ...]:
    """Reads the observations in a student's folder; returns none if it has none, or those of another version."""
    path = student / OBSERVATIONS
    if not path.is_file():
        return ()
    try:
        return observations_from_json(path.read_bytes())
    except (ValueError, json.JSONDecodeError):
        logger.warning(
            "%s must hold the observations of a training run, got something else, and the report goes without them; "
            "train again, or remove it",
            path,
        )
        return ()


def training_sentence(observations: Sequence[Observation]) -> str:
    """Returns a sentence about the picture."""
    last = observations[-1]
    clean = last.submodules[-1]
    count = len(observations)
    facts = [
        f"After {last.samples:,} samples ({count} observation{'s' * (count > 1)}) the last submodule's images have a "
        f"standard deviation of {clean.student_std:.2f} (teacher {clean.teacher_std:.2f})"
    ]
    if clean.spread is not None:
        facts.append(f"are {clean.spread:.2f} times as far apart as the teacher's")
    if clean.margin is not None:
        facts.append(f"stand {clean.margin:.2f} logits below them for the discriminator")
    return f"{_listed(facts)}; the noise it was given has a standard deviation of {last.input_std:.2f} (sampling: 1)."


def training_png(observations: Sequence[Observation], *, dark: bool) -> bytes:
    """Draws margins, gradients, deviations, spread and inputs over the samples seen; a key is in the sixth place."""
    ink, faint = ("#d7dae0", "#3c4149") if dark else ("#24292f", "#d9dde3")
    figure = Figure(figsize=(9.6, 5.6), dpi=140)
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, 3)
    margins, gradients, deviations, spreads, inputs, key = grid.flat
    timesteps = [part.timestep for part in max((seen.submodules for seen in observations), key=len)]
    colours = dict(zip(timesteps, _ramp(len(timesteps)), strict=True))
    marker = "o" if len(observations) <= _FEW else ""
    # A dashed line through a single point is invisible.
    teachers = "_" if len(observations) == 1 else ""
    _by_submodule(margins, observations, lambda part: part.margin, colours, marker)
    _by_submodule(deviations, observations, lambda part: part.student_std, colours, marker)
    _by_submodule(deviations, observations, lambda part: part.teacher_std, colours, teachers, style="--")
    _by_submodule(spreads, observations, lambda part: part.spread, colours, marker)
    _line(gradients, observations, lambda seen: seen.student_gradient, STUDENT_COLOUR, marker)
    _line(gradients, observations, lambda seen: seen.discriminator_gradient, DISCRIMINATOR_COLOUR, marker)
    _line(inputs, observations, lambda seen: seen.input_mean, TEACHER_COLOUR, marker)
    _line(inputs, observations, lambda seen: seen.input_std, STUDENT_COLOUR, marker)
    for axes, levels in ((margins, (0.0,)), (spreads, (1.0,)), (inputs, (0.0, 1.0))):
        for level in levels:
            axes.axhline(level, color=ink, linewidth=0.9, linestyle=":", zorder=1)
    gradients.set_yscale("log")
    gradients.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=6))
    gradients.yaxis.set_major_formatter(FuncFormatter(lambda norm, _: f"{norm:g}"))
    gradients.yaxis.set_minor_locator(NullLocator())
    inputs.set_ylim(-0.25, max(1.25, *(1.1 * seen.input_std for seen in observations)))
    _title(margins, "Margin, D(real) - D(fake)", "logits", ink)
    _title(gradients, "Gradient norms", "student", ink, STUDENT_COLOUR)
    _title(deviations, "Deviation of images", "standard deviation; dashed: teacher", ink)
    _title(spreads, "Spread", "student / teacher", ink)
    _title(inputs, "Input of the student", "mean", ink, TEACHER_COLOUR)
    _note(inputs, "standard deviation", 1, STUDENT_COLOUR)
    game = _first_game(observations)
    for axes in (margins, gradients, deviations, spreads, inputs):
        _dress(axes, observations, game, ink, faint)
    if game is not None:
        _note(gradients, "discriminator", 1, DISCRIMINATOR_COLOUR)
    else:
        margins.set_yticks([])
        margins.text(0.5, 0.5, "no discriminator", transform=margins.transAxes, ha="center", color=ink, fontsize=9)
    _key(key, colours, game is not None, ink)
    figure.tight_layout(w_pad=1.6, h_pad=1.6)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", transparent=True)
    return buffer.getvalue()


def _by_submodule(
    axes: Any,
    observations: Sequence[Observation],
    value: Callable[[SubmoduleObservation], float | None],
    colours: dict[int, Any],
    marker: str,
    style: str = "-",
) -> None:
    for timestep, colour in colours.items():
        points = [
            (seen.samples, value(part))
            for seen in observations
            for part in seen.submodules
            if part.timestep == timestep and value(part) is not None
        ]
        if points:
            axes.plot(
                *zip(*points, strict=True),
                style,
                color=colour,
                linewidth=_WIDTH,
                marker=marker,
                markersize=6 if marker == "_" else 2.8,
            )


def _line(
    axes: Any,
    observations: Sequence[Observation],
    value: Callable[[Observation], float | None],
    colour: str,
    marker: str,
) -> None:
    points = [(seen.samples, value(seen)) for seen in observations if value(seen) is not None]
    if points:
        axes.plot(*zip(*points, strict=True), color=colour, linewidth=_WIDTH, marker=marker, markersize=2.8)


def _title(axes: Any, title: str, note: str, ink: str, colour: str | None = None) -> None:
    axes.set_title(title, loc="left", color=ink, fontsize=10.5, fontweight="bold", pad=18)
    _note(axes, note, 0, colour or ink)


def _note(axes: Any, text: str, side: int, colour: str) -> None:
    """Writes a small text above an axes: at its left (0) or right (1) end."""
    axes.text(side, 1.03, text, transform=axes.transAxes, ha=("left", "right")[side], color=colour, fontsize=9)


def _dress(axes: Any, observations: Sequence[Observation], game: float | None, ink: str, faint: str) -> None:
    end = observations[-1].samples
    axes.set_xlim(0, 1.03 * end)
    if game is not None:
        axes.axvline(game, color=ink, linewidth=0.9, linestyle=(0, (1, 3)), zorder=1)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda samples, _: f"{samples / 1000:g}k" if samples else "0"))
    axes.tick_params(which="both", colors=ink, labelsize=8.5)
    axes.grid(visible=True, which="major", color=faint, linewidth=0.7)
    axes.set_axisbelow(True)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(faint)


def _key(axes: Any, colours: dict[int, Any], played: bool, ink: str) -> None:
    axes.set_axis_off()
    lines = [Line2D([], [], color=colour, linewidth=2.2) for colour in colours.values()]
    names = [f"submodule at t = {timestep}" if timestep else "submodule of the clean image" for timestep in colours]
    if played:
        lines.append(Line2D([], [], color=ink, linewidth=0.9, linestyle=(0, (1, 3))))
        names.append("the discriminator begins")
    axes.legend(lines, names, loc="center left", frameon=False, labelcolor=ink, fontsize=9.5, ncols=1 + len(names) // 9)
    axes.annotate("across: samples seen", (0.03, 0.0), xycoords="axes fraction", color=ink, fontsize=9)


def _first_game(observations: Sequence[Observation]) -> float | None:
    """Returns the middle between the last observation without a margin and the first one with a margin, in samples."""
    with_margin = [seen.samples for seen in observations if seen.submodules[-1].margin is not None]
    if not with_margin:
        return None
    before = max((seen.samples for seen in observations if seen.samples < with_margin[0]), default=0)
    return (before + with_margin[0]) / 2


def _ramp(count: int) -> list[tuple[float, ...]]:
    """Returns colours from the teacher's blue (noisy) to the student's orange (clean)."""
    first, last = to_rgb(TEACHER_COLOUR), to_rgb(STUDENT_COLOUR)
    shares = [index / max(1, count - 1) for index in range(count)] if count > 1 else [1.0]
    return [tuple((1 - share) * a + share * b for a, b in zip(first, last, strict=True)) for share in shares]


def _listed(facts: Sequence[str]) -> str:
    return facts[0] if len(facts) == 1 else f"{', '.join(facts[:-1])} and {facts[-1]}"
