"""Chosen samples as a file: npz, a PNG sheet or CSV, with the students' outputs and errors."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from advkd.browse.decoding import Look
from advkd.browse.errors import RequestError
from advkd.browse.labels import condition_text
from advkd.browse.sheets import hatched, require_fitting, sheet_of
from advkd.browse.sorting import MOST_BYTES, chunks, norm
from advkd.browse.store_view import StoreSnapshot
from advkd.browse.students import ShownStudent
from storage import States

FORMS = {"npz": "application/zip", "png": "image/png", "csv": "text/csv"}


def exported(view: StoreSnapshot, samples: list[int], students: Sequence[ShownStudent], form: str, look: Look) -> bytes:
    """Returns the file: all timesteps of samples of a store and what students predict there.

    Samples that cannot be read are left out of npz and CSV, and hatched in a sheet.

    Raises:
        RequestError: they are too many for a file.
    """
    if form == "csv":
        return _table(view, samples, students)
    values = sum(int(np.prod(view.spec.state_shape(t))) for t in view.spec.timesteps) * (1 + len(students))
    if 4 * values * len(samples) > MOST_BYTES:
        most = max(1, MOST_BYTES // (4 * values))
        raise RequestError(
            f"a file holds at most {most} samples of this store, got {len(samples)}; choose fewer, or CSV"
        )
    return (_arrays if form == "npz" else _sheet)(view, samples, students, look)


def _read(
    view: StoreSnapshot, samples: list[int], students: Sequence[ShownStudent]
) -> tuple[npt.NDArray[np.bool_], States, list[States]]:
    looked = view.read(samples, view.spec.timesteps)
    good = np.array([sample not in looked.marks for sample in samples])
    noise = looked.states[view.spec.timesteps[0]]
    predicted = [
        {t: state for t, state in student.states(view.spec, samples, noise).items() if t in view.spec.timesteps}
        for student in students
    ]
    return good, looked.states, predicted


def _arrays(view: StoreSnapshot, samples: list[int], students: Sequence[ShownStudent], _: Look) -> bytes:
    good, states, predicted = _read(view, samples, students)
    arrays: dict[str, npt.NDArray[Any]] = {
        "samples": np.array(samples)[good],
        "conditions": np.array([condition_text(view, sample) for sample in samples])[good],
        **{f"t{t:04d}": state[good] for t, state in states.items()},
    }
    for number, (student, theirs) in enumerate(zip(students, predicted, strict=True)):
        arrays[f"student{number}"] = np.array(student.name)
        for t, state in theirs.items():
            arrays[f"student{number}_t{t:04d}"] = state[good]
            arrays[f"student{number}_error_t{t:04d}"] = norm(state - states[t].astype(np.float32))[good]
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _table(view: StoreSnapshot, samples: list[int], students: Sequence[ShownStudent]) -> bytes:
    text = io.StringIO()
    rows, times = csv.writer(text), view.spec.timesteps
    heads = [f"error of {student.name} at t={t}" for student in students for t in student.shared_timesteps(view.spec)]
    rows.writerow(["sample", "condition", *(f"norm at t={t}" for t in times), *heads])
    for portion in chunks(view, samples, times):
        good, states, predicted = _read(view, portion, students)
        columns = [norm(states[t]) for t in times]
        columns += [norm(state - states[t].astype(np.float32)) for theirs in predicted for t, state in theirs.items()]
        for row in np.flatnonzero(good):
            # A text that a spreadsheet would take for a formula is quoted.
            told = condition_text(view, portion[row])
            told = f"'{told}" if told[:1] in ("=", "+", "-", "@") else told
            rows.writerow([portion[row], told, *(f"{column[row]:.6g}" for column in columns)])
    return text.getvalue().encode()


def _sheet(view: StoreSnapshot, samples: list[int], students: Sequence[ShownStudent], look: Look) -> bytes:
    times, (width, height) = view.spec.timesteps, look.largest
    rows = 1 + len(students)
    require_fitting(len(samples) * rows * len(times), len(times), (width, height))
    good, states, predicted = _read(view, samples, students)
    colours = [3] if look.pixels(states[times[-1]][:1], times[-1]).ndim == 4 else []
    sheet = np.zeros((len(samples), rows, len(times), height, width, *colours), dtype=np.uint8)
    for row, shown in enumerate([states, *predicted]):
        for column, t in enumerate(times):
            if t in shown:
                drawn = look.pixels(shown[t], t)
                enlarged = drawn.repeat(height // drawn.shape[1], axis=1).repeat(width // drawn.shape[2], axis=2)
                sheet[:, row, column, : enlarged.shape[1], : enlarged.shape[2]] = enlarged
    sheet[~good] = hatched(sheet.shape[3:])
    return sheet_of(sheet.reshape(-1, *sheet.shape[3:]), {}, len(times)).png
