"""Draws the pictures of a report as PNG bytes: sample grids, trajectory strips, the curve.

Backgrounds are transparent and labels grey, so pictures fit light and dark pages.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from advkd.diffusion import Space, decoded
from advkd.evaluation.curve import solver_text
from advkd.evaluation.results import Distances, EvalReport
from advkd.evaluation.worth import Worth

GREY = (128, 128, 128, 255)
TEACHER_COLOUR = "#5b8def"
TEACHER_COLOURS = (TEACHER_COLOUR, "#2fa88a", "#9b6bdf", "#8a93a3")
STUDENT_COLOUR = "#e8793a"
COLUMNS = 8
STRIP_NOISES = 4
TILE = 40
STRIP_TILE = 64
CURVE_PICTURE, TRAINING_PICTURE, NEAREST_PICTURE = "curve.png", "training.png", "nearest.png"
Rgba = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Strips:
    """States of teacher and student along the time grid: noise `[N, C, H, W]`, the others `[K, N, C, H, W]`."""

    timesteps: tuple[int, ...]
    noise: Tensor
    teacher_states: Tensor
    student_states: Tensor
    teacher_clean: Tensor
    student_clean: Tensor

    def decoded(self, space: Space, device: str) -> "Strips":
        """The first noises, those that are drawn, as images."""

        def images(states: Tensor) -> Tensor:
            drawn = states[:, :STRIP_NOISES]
            shown: Tensor = decoded(space, drawn.flatten(0, 1), device).unflatten(0, drawn.shape[:2])
            return shown

        return Strips(
            timesteps=self.timesteps,
            noise=decoded(space, self.noise[:STRIP_NOISES], device),
            teacher_states=images(self.teacher_states),
            student_states=images(self.student_states),
            teacher_clean=images(self.teacher_clean),
            student_clean=images(self.student_clean),
        )


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """All pictures of a report, each a PNG."""

    samples: bytes
    student_grid: bytes
    teacher_grid: bytes
    strips: bytes
    clean_strips: bytes
    curve: bytes | None = None
    curve_dark: bytes | None = None
    nearest: bytes | None = None
    training: bytes | None = None
    training_dark: bytes | None = None

    def files(self) -> dict[str, bytes]:
        """Returns the pictures that are also written as files beside the page, by file name."""
        files = {
            "samples.png": self.samples,
            "strips.png": self.strips,
            "strips-clean.png": self.clean_strips,
            CURVE_PICTURE: self.curve,
            NEAREST_PICTURE: self.nearest,
            TRAINING_PICTURE: self.training,
        }
        return {name: png for name, png in files.items() if png is not None}


def render_pictures(report: EvalReport, student: Tensor, teacher: Tensor, strips: Strips) -> Pictures:
    """Draws all pictures.

    Args:
        report: figures of the report.
        student: images of the student, `[P, C, H, W]` in [-1, 1].
        teacher: images of the teacher from the same noises.
        strips: states along the time grid.
    """
    ours, theirs = image_grid(student), image_grid(teacher)
    target = f"teacher, {report.target_steps} steps of {solver_text(report.target_solver)}"
    curves = None if report.not_comparable else report.headline
    return Pictures(
        samples=_png(_side_by_side((ours, theirs), ("student, 1 pass", target))),
        student_grid=_png(ours),
        teacher_grid=_png(theirs),
        strips=_png(_strip_picture(strips, strips.teacher_states, strips.student_states, with_noise=True)),
        clean_strips=_png(_strip_picture(strips, strips.teacher_clean, strips.student_clean, with_noise=False)),
        curve=None if curves is None else curve_png(curves, dark=False),
        curve_dark=None if curves is None else curve_png(curves, dark=True),
    )


def image_grid(images: Tensor, columns: int = COLUMNS) -> Rgba:
    """Arranges images `[N, C, H, W]` in [-1, 1] row by row, enlarged by a whole factor: RGBA `[height, width, 4]`."""
    tiles = _tiles(images, TILE)
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    return _lay_out(rows, gap=2)


def labelled_rows(rows: Sequence[Tensor], names: Sequence[str]) -> bytes:
    """Returns rows of images `[N, C, H, W]` in [-1, 1], each below its name, as a PNG."""
    font, gap = ImageFont.load_default(13), 20
    pictures = [_lay_out([_tiles(images, STRIP_TILE)], gap=3) for images in rows]
    height, width = pictures[0].shape[:2]
    canvas = Image.new("RGBA", (width, len(rows) * (height + gap)), (0, 0, 0, 0))
    draw = ImageDraw.Draw(canvas)
    for index, (picture, name) in enumerate(zip(pictures, names, strict=True)):
        draw.text((0, index * (height + gap) + 2), name, fill=GREY, font=font)
        canvas.paste(Image.fromarray(picture), (0, index * (height + gap) + gap))
    return _png(np.asarray(canvas))


def grid_png(images: Tensor, columns: int = COLUMNS) -> bytes:
    """Returns the result of `image_grid` as a PNG."""
    return _png(image_grid(images, columns))


def curve_png(measured: Distances, *, dark: bool) -> bytes:
    """The teacher's curves under solvers without training, log-log, with the student's single pass placed on them."""
    ink, faint = ("#d7dae0", "#3c4149") if dark else ("#24292f", "#d9dde3")
    figure = Figure(figsize=(7.2, 4.2), dpi=160)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    kinds = list(dict.fromkeys(point.solver for point in measured.curve))
    for kind, colour in zip(kinds, cycle(TEACHER_COLOURS)):
        points = [(point.passes, point.to_target.fd.value) for point in measured.curve if point.solver == kind]
        passes, distances = zip(*points, strict=True)
        axes.loglog(
            passes, distances, "o-", color=colour, linewidth=1.8, markersize=4.5, label=f"teacher, {solver_text(kind)}"
        )
    every = [(point.passes, point.to_target.fd.value) for point in measured.curve]
    lowest, highest = min(distance for _, distance in every), max(distance for _, distance in every)
    fd, worth = measured.to_teacher.fd.value, measured.worth.passes
    axes.plot([1, max(worth, 1.001)], [fd, fd], "--", color=STUDENT_COLOUR, linewidth=1.2)
    axes.plot([worth, worth], [min(lowest, fd) * 0.5, fd], "--", color=STUDENT_COLOUR, linewidth=1.2)
    axes.plot([1], [fd], "*", color=STUDENT_COLOUR, markersize=16, label="student, 1 pass", zorder=5)
    axes.plot([worth], [fd], "o", color=STUDENT_COLOUR, markersize=7, zorder=5)
    axes.annotate(
        f"worth {_worth_label(measured.worth)}",
        (worth, fd),
        xytext=(9, 7),
        textcoords="offset points",
        color=STUDENT_COLOUR,
        fontsize=11,
        fontweight="bold",
    )
    axes.set_xlim(0.88, 1.2 * max(passes for passes, _ in every))
    axes.set_ylim(min(lowest, fd) * 0.6, max(highest, fd) * 1.6)
    axes.xaxis.set_major_locator(FixedLocator([1, 2, 3, 5, 10, 20, 50, 100, 200]))
    axes.xaxis.set_minor_locator(FixedLocator([]))
    axes.yaxis.set_minor_formatter(NullFormatter())
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("network passes per image", color=ink)
    axes.set_ylabel(f"{measured.to_teacher.fd.name} to {measured.to_teacher.fd.reference}", color=ink)
    axes.tick_params(which="both", colors=ink)
    axes.grid(visible=True, which="major", color=faint, linewidth=0.8)
    axes.set_axisbelow(True)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(faint)
    axes.legend(frameon=False, labelcolor=ink)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", transparent=True)
    return buffer.getvalue()


def _worth_label(worth: Worth) -> str:
    if worth.clamped:
        return f"less than {worth.passes:.0f}" if worth.passes <= 1 else f"more than {worth.passes:.0f}"
    return f"{worth.passes:.1f}"


def _strip_picture(strips: Strips, teacher: Tensor, student: Tensor, *, with_noise: bool) -> Rgba:
    count = min(STRIP_NOISES, strips.noise.shape[0])
    rows: list[list[Rgba]] = []
    for index in range(count):
        for states in (teacher, student):
            row = _tiles(states[:, index], STRIP_TILE)
            rows.append([*_tiles(strips.noise[index : index + 1], STRIP_TILE), *row] if with_noise else row)
    timesteps = strips.timesteps if with_noise else strips.timesteps[1:]
    labels = [f"t={timestep}" if timestep else "clean" for timestep in timesteps]
    return _labelled(_lay_out(rows, gap=3, pair_gap=14), labels, ("teacher", "student") * count, pair_gap=14)


def _tiles(images: Tensor, side: int) -> list[Rgba]:
    pixels = ((images.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    factor = max(1, -(-side // pixels.shape[1]))
    grown = pixels.repeat(factor, axis=1).repeat(factor, axis=2)
    colour = grown[..., :3] if grown.shape[-1] >= 3 else grown[..., :1].repeat(3, axis=-1)
    opaque = np.full((*colour.shape[:-1], 1), 255, dtype=np.uint8)
    return list(np.concatenate([colour, opaque], axis=-1))


def _lay_out(rows: Sequence[Sequence[Rgba]], gap: int, pair_gap: int | None = None) -> Rgba:
    height, width = rows[0][0].shape[:2]
    columns = max(len(row) for row in rows)
    tops = [_row_top(index, height, gap, gap if pair_gap is None else pair_gap) for index in range(len(rows))]
    canvas = np.zeros((tops[-1] + height, columns * (width + gap) - gap, 4), dtype=np.uint8)
    for top, row in zip(tops, rows, strict=True):
        for column, tile in enumerate(row):
            left = column * (width + gap)
            canvas[top : top + height, left : left + width] = tile
    return canvas


def _row_top(index: int, height: int, gap: int, pair_gap: int) -> int:
    pairs, second = divmod(index, 2)
    return pairs * (2 * height + gap + pair_gap) + second * (height + gap)


def _labelled(picture: Rgba, columns: Sequence[str], rows: Sequence[str], pair_gap: int) -> Rgba:
    font = ImageFont.load_default(12)
    left, top = 62, 22
    canvas = Image.new("RGBA", (picture.shape[1] + left, picture.shape[0] + top), (0, 0, 0, 0))
    canvas.paste(Image.fromarray(picture), (left, top))
    draw = ImageDraw.Draw(canvas)
    step = (picture.shape[1] + 3) / len(columns)
    for index, text in enumerate(columns):
        draw.text((left + (index + 0.5) * step - 1.5, 4), text, fill=GREY, font=font, anchor="ma")
    height = (picture.shape[0] + pair_gap) // (len(rows) // 2)
    tile = (height - pair_gap - 3) // 2
    for index, text in enumerate(rows):
        middle = top + _row_top(index, tile, 3, pair_gap) + tile // 2
        draw.text((left - 8, middle), text, fill=GREY, font=font, anchor="rm")
    return np.asarray(canvas)


def _side_by_side(pictures: Sequence[Rgba], titles: Sequence[str]) -> Rgba:
    gap, top = 28, 26
    font = ImageFont.load_default(15)
    width = sum(picture.shape[1] for picture in pictures) + gap * (len(pictures) - 1)
    canvas = Image.new("RGBA", (width, top + max(picture.shape[0] for picture in pictures)), (0, 0, 0, 0))
    draw = ImageDraw.Draw(canvas)
    left = 0
    for picture, title in zip(pictures, titles, strict=True):
        canvas.paste(Image.fromarray(picture), (left, top))
        draw.text((left, 4), title, fill=GREY, font=font)
        left += picture.shape[1] + gap
    return np.asarray(canvas)


def _png(picture: Rgba) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
