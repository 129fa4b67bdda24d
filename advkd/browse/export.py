"""Chosen samples as a file: npz, PNG or CSV with the students' outputs and errors, or a GIF of the denoising."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from advkd.browse.decoding import Look
from advkd.browse.display import enlarged
from advkd.browse.errors import RequestError
from advkd.browse.labels import condition_text
from advkd.browse.sheets import grid_of, hatched, png_bytes, require_fitting
from advkd.browse.sorting import MOST_BYTES, readable
from advkd.browse.store_view import StoreSnapshot
from advkd.browse.students import ShownStudent, norm
from storage import States

FORMS = {"npz": "application/zip", "png": "image/png", "csv": "text/csv", "gif": "image/gif"}
_SIDE = 160
"""Pixels to which the tiles of a single sample are enlarged."""
_STEP_MS, _HOLD_MS = 350, 1500


def exported(view: StoreSnapshot, samples: list[int], students: Sequence[ShownStudent], form: str, look: Look) -> bytes:
    """Returns the file: all timesteps of samples of a store and what students predict there.

    Samples that cannot be read are left out of npz and CSV, and hatched in pictures.

    Raises:
        RequestError: they are too many for a file.
        ShardCorruptError, StoreIncompleteError: none of them can be read.
    """
    if form == "csv":
        return _table(view, samples, students)
    values = sum(int(np.prod(view.spec.state_shape(t))) for t in view.spec.timesteps) * (1 + len(students))
    if 4 * values * len(samples) > MOST_BYTES:
        most = max(1, MOST_BYTES // (4 * values))
        raise RequestError(
            f"a file holds at most {most} samples of this store, got {len(samples)}; choose fewer, or CSV"
        )
    looked = view.read(samples, view.spec.timesteps)
    good = np.array([sample not in looked.marks for sample in samples])
    if not good.any():
        raise looked.marks[samples[0]].error()
    predicted = [student.states(view.spec, samples, looked.states[view.spec.timesteps[0]]) for student in students]
    if form == "npz":
        return _arrays(view, np.array(samples), good, looked.states, dict(zip(students, predicted, strict=True)))
    return _picture(view, good, [looked.states, *predicted], form, look)


def _arrays(
    view: StoreSnapshot,
    samples: npt.NDArray[np.int64],
    good: npt.NDArray[np.bool_],
    states: States,
    predicted: dict[ShownStudent, States],
) -> bytes:
    arrays: dict[str, npt.NDArray[Any]] = {
        "samples": samples[good],
        "conditions": np.array([condition_text(view, sample) for sample in samples[good].tolist()]),
        **{f"t{t:04d}": state[good] for t, state in states.items()},
    }
    for number, (student, theirs) in enumerate(predicted.items()):
        arrays[f"student{number}"] = np.array(student.name)
        for t in student.shared_timesteps(view.spec):
            arrays[f"student{number}_t{t:04d}"] = theirs[t][good]
            arrays[f"student{number}_error_t{t:04d}"] = norm(theirs[t] - states[t].astype(np.float32))[good]
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _table(view: StoreSnapshot, samples: list[int], students: Sequence[ShownStudent]) -> bytes:
    text = io.StringIO()
    rows, times = csv.writer(text), view.spec.timesteps
    heads = [f"error of {student.name} at t={t}" for student in students for t in student.shared_timesteps(view.spec)]
    rows.writerow(["sample", "condition", *(f"norm at t={t}" for t in times), *heads])
    for portion, states in readable(view, samples, times):
        columns = [norm(states[t]) for t in times]
        columns += [error for student in students for error in student.errors(view.spec, portion, states).values()]
        for row, sample in enumerate(portion):
            # A text that a spreadsheet would take for a formula is quoted.
            told = condition_text(view, sample)
            told = f"'{told}" if told[:1] in ("=", "+", "-", "@") else told
            rows.writerow([sample, told, *(f"{column[row]:.6g}" for column in columns)])
    return text.getvalue().encode()


def _picture(view: StoreSnapshot, good: npt.NDArray[np.bool_], shown: list[States], form: str, look: Look) -> bytes:
    """Draws a row for each sample and each of its students, with a column (PNG) or a frame (GIF) for each timestep."""
    times, (width, height) = view.spec.timesteps, look.largest
    factor = max(1, _SIDE // max(width, height)) if len(good) == 1 else 1
    width, height, rows = factor * width, factor * height, len(shown)
    require_fitting(len(good) * rows * len(times), len(times), (width, height))
    colours = look.pixels(shown[0][times[-1]][:1], times[-1]).shape[3:]
    sheet = np.zeros((len(times), len(good), rows, height, width, *colours), dtype=np.uint8)
    for row, states in enumerate(shown):
        # Students start from the store's noise.
        for column, t in enumerate(times):
            if t in (there := {times[0]: shown[0][times[0]]} | states):
                sheet[column, :, row] = enlarged(look.pixels(there[t], t), (width, height))
    sheet[:, ~good] = hatched(sheet.shape[3:])
    tiles = sheet.reshape(len(times), -1, *sheet.shape[3:])
    if form == "png":
        return png_bytes(grid_of(np.moveaxis(tiles, 0, 1).reshape(-1, *tiles.shape[2:]), len(times)))
    frames = [Image.fromarray(grid_of(frame, rows if rows > 1 else None)) for frame in tiles]
    buffer = io.BytesIO()
    held = [_STEP_MS] * (len(frames) - 1) + [_HOLD_MS]
    frames[0].save(buffer, format="GIF", save_all=True, append_images=frames[1:], duration=held, loop=0)
    return buffer.getvalue()
