"""What a running server holds: its stores, its students, and a cache of pictures and answers."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from advkd.browse.catalogue import Catalogue
from advkd.browse.comparing import Side, differences
from advkd.browse.decoding import Decoders, Look
from advkd.browse.display import difference_tiles, latent
from advkd.browse.errors import NotShownError, RequestError
from advkd.browse.notes import Notes
from advkd.browse.query import whole
from advkd.browse.sheets import Sheet, fitting_samples, hatched, require_fitting, sheet_of
from advkd.browse.store_view import StoreSnapshot
from advkd.browse.students import ShownStudent, Students
from storage import TrajectorySpec

_SEPARATOR = "~"
_BLANK = 64
"""Largest side in pixels of a tile in a sheet of which no sample can be read."""
T = TypeVar("T")


def answer_key(route: str, *parts: Any) -> tuple[str, str]:
    """Returns the key of an answer: its route, and a digest of all that it depends on, which may be long."""
    return route, hashlib.sha256(repr(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Shown:
    """The state that all routes share."""

    catalogue: Catalogue
    students: Students
    decoders: Decoders
    notes: Notes | None

    def side(self, text: str, beside: Side | None = None, timestep: int | None = None) -> Side:
        """Returns `<store>` or `<store>~<student>` as a side of a page.

        Args:
            text: name of the side in URLs.
            beside: the page's other side; if it shows the same store, both show the same snapshot.
            timestep: one that a student must show.

        Raises:
            NotShownError: there is no such store or student.
            RequestError: the student does not fit the store.
        """
        name, separator, student = text.partition(_SEPARATOR)
        store = self.catalogue.store(name)
        view = beside.view if beside is not None and beside.view.store is store else store.view()
        predicted = None if timestep == view.spec.timesteps[0] else timestep
        return Side(view, self.student(student, view, predicted) if separator else None)

    def chosen(self, numbers: Sequence[str], view: StoreSnapshot) -> list[ShownStudent]:
        """Returns the students whose numbers are in a URL, each once; raises the errors of `side`."""
        return [self.student(number, view) for number in sorted(set(numbers))]

    def student(self, text: str, view: StoreSnapshot, timestep: int | None = None) -> ShownStudent:
        """Returns the student whose number is in a URL, and which predicts a timestep; raises the errors of `side`."""
        number = whole(text)
        if number is None:
            raise NotShownError(f"a student is called by its number, got {text[:20]!r}; choose one from the page")
        student = self.students.fitting(number, view.spec)
        shared = student.shared_timesteps(view.spec)
        if timestep is not None and timestep not in shared:
            raise RequestError(
                f"the student predicts the timesteps {list(shared)}, got t={timestep}; choose one of them"
            )
        return student

    def students_of(self, spec: TrajectorySpec) -> list[dict[str, object]]:
        """Returns all students for a page: number, name, and why a student does not fit."""
        return [
            {
                "number": number,
                "name": student.name,
                "refused": student.refusal(spec),
                "timesteps": student.shared_timesteps(spec),
            }
            for number, student in enumerate(self.students.all)
        ]

    def answer(self, key: tuple[str, str], make: Callable[[], T], size: Callable[[T], int | None]) -> T:
        """Returns an answer from the cache, or makes it; `size` returns None for an answer that must not be kept.

        These are answers in which samples are missing, because a repair brings them back and does not change the key.
        """
        held: T | None = self.catalogue.kept.get(key)
        if held is not None:
            return held
        made = make()
        num_bytes = size(made)
        if num_bytes is not None:
            self.catalogue.kept.put(key, made, num_bytes)
        return made

    def sheet(
        self,
        side: Side,
        samples: list[int],
        timestep: int,
        columns: int | None = None,
        how: str = "",
        less: tuple[Side, float] | None = None,
    ) -> Sheet:
        """Returns a picture of a side's samples at a timestep, from the cache if possible; see `Decoders` for `how`.

        With `less` it shows how far another side is apart, decoded where both are, white from a difference on.

        Raises:
            RequestError: the sides cannot be compared, or not at this timestep.
        """
        view = side.view
        looks = (self.decoders.look(view, how),) * 2 if less is None else self.looks(view, less[0].view)
        (width, height), distinct = looks[0].tile(timestep), len(set(samples))
        require_fitting(len(samples), columns, (width, height))

        def draw() -> Sheet:
            if less is not None:
                apart, marks = differences(side, less[0], samples, timestep, looks)
                pixels = difference_tiles(apart, less[1])
            else:
                states, marks = side.states(samples, timestep)
                blank = len(samples), min(height, _BLANK), min(width, _BLANK)
                pixels = looks[0].pixels(states, timestep) if len(marks) < distinct else np.zeros(blank, dtype=np.uint8)
            for row, sample in enumerate(samples):
                if sample in marks:
                    pixels[row] = hatched(pixels.shape[1:])
            return sheet_of(pixels, marks, columns)

        against = less and (less[0].name, less[0].view.stamp, less[1])
        key = answer_key("sheet", side.name, view.stamp, samples, timestep, columns, looks[0].how, against)
        return self.answer(key, draw, lambda made: None if made.marks else len(made.png))

    def looks(self, left: StoreSnapshot, right: StoreSnapshot) -> tuple[Look, Look]:
        """Returns how two stores are shown beside each other: decoded only if both can be, to images of one shape."""
        looks = self.decoders.look(left), self.decoders.look(right)
        ours, theirs = (None if look.space is None else look.space.image_shape for look in looks)
        return looks if ours == theirs else (Look(left), Look(right))


def grid_of(look: Look) -> dict[str, object]:
    """Returns what a wall needs to know of a look: its name, its largest tile, and how many fit into a sheet."""
    return {"how": look.how, "tile": list(look.largest), "chunk": fitting_samples(*look.largest)}


def grid_facts(spec: TrajectorySpec) -> dict[str, object]:
    """Returns the facts of a store's grid and shape that the pages' scripts need."""
    return {
        "timesteps": list(spec.timesteps),
        "shape": list(spec.sample_shape),
        "latent": latent(spec),
    }
