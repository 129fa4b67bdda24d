"""What a running server holds: its stores, its students, and a cache of pictures and answers."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from advkd.browse.catalogue import Catalogue
from advkd.browse.comparing import Side, differences, require_comparable
from advkd.browse.decoding import Decoders, Look
from advkd.browse.display import Pixels, difference_tiles, latent
from advkd.browse.errors import NotShownError, RequestError
from advkd.browse.notes import Notes
from advkd.browse.query import whole
from advkd.browse.sheets import Sheet, fitting_samples, hatched, require_fitting, sheet_of
from advkd.browse.sorting import SortedSamples
from advkd.browse.store_view import Mark, StoreSnapshot
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
        loaded = [self.students.student(number) for number in range(len(self.students))]
        return [
            {
                "number": number,
                "name": student.name,
                "refused": student.refusal(spec),
                "timesteps": student.shared_timesteps(spec),
            }
            for number, student in enumerate(loaded)
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

    def order(self, key: tuple[str, str], make: Callable[[], SortedSamples]) -> SortedSamples:
        """Returns an order of samples, cached as by `answer`."""
        return self.answer(key, make, lambda made: None if made.unreadable else made.held_bytes)

    def sheet(
        self,
        side: Side,
        samples: list[int],
        timestep: int,
        columns: int | None = None,
        how: str = "",
    ) -> Sheet:
        """Returns a picture of a side's samples at a timestep, from the cache if possible; see `Decoders` for `how`."""
        view = side.view
        look = self.decoders.look(view, how)
        require_fitting(len(samples), columns, look.tile(timestep))

        def make() -> tuple[Pixels, dict[int, Mark]]:
            states, marks = side.states(samples, timestep)
            if len(marks) == len(set(samples)):
                width, height = look.tile(timestep)
                return np.zeros((len(samples), min(height, _BLANK), min(width, _BLANK)), dtype=np.uint8), marks
            return look.pixels(states, timestep), marks

        key = answer_key("sheet", side.name, samples, timestep, columns, look.how, view.stamp)
        return self._sheet(key, samples, columns, make)

    def difference(self, left: Side, right: Side, samples: list[int], timestep: int, most: float) -> Sheet:
        """Returns a picture of the differences between two sides, decoded where both are, white from `most` on.

        Raises:
            RequestError: the sides cannot be compared, or not at this timestep.
        """
        require_comparable(left, right)
        looks = self.looks(left.view, right.view)
        require_fitting(len(samples), None, looks[0].tile(timestep))

        def make() -> tuple[Pixels, dict[int, Mark]]:
            apart, marks = differences(left, right, samples, timestep, looks)
            return difference_tiles(apart, most), marks

        stamps = left.view.stamp, right.view.stamp, looks[0].how
        key = answer_key("difference", left.name, right.name, samples, timestep, most, stamps)
        return self._sheet(key, samples, None, make)

    def looks(self, left: StoreSnapshot, right: StoreSnapshot) -> tuple[Look, Look]:
        """Returns how two stores are shown beside each other: decoded only if both can be, to images of one shape."""
        looks = self.decoders.look(left), self.decoders.look(right)
        ours, theirs = (None if look.space is None else look.space.image_shape for look in looks)
        return looks if ours == theirs else (Look(left), Look(right))

    def _sheet(
        self,
        key: tuple[str, str],
        samples: list[int],
        columns: int | None,
        make: Callable[[], tuple[Pixels, dict[int, Mark]]],
    ) -> Sheet:
        def drawn() -> Sheet:
            pixels, marks = make()
            for row, sample in enumerate(samples):
                if sample in marks:
                    pixels[row] = hatched(pixels.shape[1:])
            return sheet_of(pixels, marks, columns)

        return self.answer(key, drawn, lambda made: None if made.marks else len(made.png))


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
