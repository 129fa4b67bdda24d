"""A trajectory as rows of pictures: its states, what they imply, and how far students are from their teacher."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from advkd.browse.decoding import ALL, Look
from advkd.browse.display import Pixels, difference_tiles, enlarged
from advkd.browse.sheets import sheet_of
from advkd.browse.store_view import StoreSnapshot
from advkd.browse.students import ShownStudent, clean_image, implies_clean, norm
from storage import States


@dataclass(frozen=True, kw_only=True)
class Row:
    """States of one kind by timestep, `[1, C, H_k, W_k]`; differences if `scale` names what shares its ends."""

    kind: str
    name: str = ""
    note: str
    states: States
    look: Look
    scale: str = ""

    @cached_property
    def most(self) -> float:
        """The largest magnitude of a difference."""
        return max(float(np.abs(self.look.seen(state)).max()) for state in self.states.values())

    @cached_property
    def rms(self) -> list[float]:
        """The root mean square of the difference of every timestep."""
        return [float(norm(self.look.seen(state))[0]) for state in self.states.values()]

    def to_json(self, rows: Sequence["Row"], own: bool) -> dict[str, Any]:
        """Returns the row as plain JSON: a PNG in base64, and its scale, alone or with those of `rows` alike."""
        alike = [self] if own else [row for row in rows if row.scale == self.scale]
        told: dict[str, Any] = {"kind": self.kind, "name": self.name, "note": self.note, "times": list(self.states)}
        draw: Callable[[int, npt.NDArray[Any]], Pixels] = lambda t, state: self.look.pixels(state, t)  # noqa: E731
        if self.scale:
            most = max(row.most for row in alike) or 1.0
            draw = lambda _, state: difference_tiles(self.look.seen(state), most, signed=True)  # noqa: E731
            told |= {"scale": self.scale, "most": most, "rms": self.rms, "longest": max(max(row.rms) for row in alike)}
        tiles = [enlarged(draw(t, state), self.look.largest) for t, state in self.states.items()]
        sheet = sheet_of(np.concatenate(tiles), {})
        return told | sheet.to_json() | {"png": base64.b64encode(sheet.png).decode()}


def strip(view: StoreSnapshot, sample: int, students: Sequence[ShownStudent], looks: tuple[Look, Look]) -> list[Row]:
    """Returns the rows of a sample that have a picture: the teacher's, then those of every student.

    Args:
        view: the store.
        sample: its number.
        students: those that are shown beside the teacher.
        looks: how states are shown, and how images are: decoded where they can be.

    Raises:
        ShardCorruptError, StoreIncompleteError: the sample cannot be read.
    """
    spec, (plain, decoded) = view.spec, looks
    first, last = spec.timesteps[0], spec.timesteps[-1]
    looked = view.read([sample], spec.timesteps)
    if looked.marks:
        raise looked.marks[sample].error()
    noise, end = looked.states[first], looked.states[last]

    def shown(kind: str, name: str, states: States) -> tuple[States, list[Row]]:
        clean = {t: clean_image(state, noise, spec, t) for t, state in states.items() if implies_clean(spec, t)}
        whole = {t: state for t, state in states.items() if state.shape[1:] == tuple(spec.sample_shape)}
        image = decoded if decoded.space is not None and plain.how == ALL else plain
        return clean, [
            Row(kind=kind, name=name, note="state", states=states, look=plain),
            Row(kind=kind, note="decoded", states=whole if decoded.space is not None else {}, look=decoded),
            Row(kind=kind, note="implied clean", states=clean, look=image),
        ]

    clean, rows = shown("teacher", "teacher", looked.states)
    final = {t: image - end for t, image in clean.items() if t != last and image.shape == end.shape}
    rows.append(Row(kind="difference", note="implied, less final", scale="final", states=final, look=plain))
    for student in students:
        predicted = student.states(spec, [sample], noise)
        theirs = {t: predicted[t] for t in student.shared_timesteps(spec)}
        implied, more = shown("student", student.name, theirs)
        for note, ours, others in (("state error", theirs, looked.states), ("clean error", implied, clean)):
            apart = {t: state - others[t].astype(np.float32) for t, state in ours.items()}
            more.append(Row(kind="difference", note=note, scale="error", states=apart, look=plain))
        rows += more
    return [row for row in rows if row.states]
