"""What a running server holds: its stores, its students, and the pictures and answers that it made last."""

from collections.abc import Hashable
from dataclasses import dataclass, field

from advkd.browse.byte_cache import ByteCache
from advkd.browse.catalogue import Catalogue
from advkd.browse.chains import Student, Students, implies_clean
from advkd.browse.comparing import Side
from advkd.browse.display import latent, tile_size, tiles, value_range
from advkd.browse.errors import NotShownError, RequestError
from advkd.browse.looking import LookedAt
from advkd.browse.orders import Order
from advkd.browse.sheets import Sheet, hatched, require_fitting, sheet_of
from storage import TrajectorySpec

SHEET_BYTES = 32 * 2**20
ORDER_BYTES = 4 * 2**20
_SEPARATOR = "~"


@dataclass(frozen=True)
class Shown:
    """Everything that routes share."""

    catalogue: Catalogue
    students: Students
    sheets: ByteCache[Sheet] = field(default_factory=lambda: ByteCache(SHEET_BYTES, lambda sheet: len(sheet.png)))
    orders: ByteCache[Order] = field(default_factory=lambda: ByteCache(ORDER_BYTES, lambda order: order.held_bytes))

    def side(self, text: str) -> Side:
        """`<store>` or `<store>~<student>` as one side of a page.

        Raises:
            NotShownError: There is no such store or student.
            RequestError: The student does not fit the store.
        """
        name, separator, student = text.partition(_SEPARATOR)
        store = self.catalogue.store(name)
        return Side(store, self.student(student, store) if separator else None)

    def student(self, text: str, store: LookedAt) -> Student | None:
        """The student of a number in a URL, None for none; errors are those of `side`."""
        if text == "":
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 4):
            raise NotShownError(f"a student is called by its number, got {text[:20]!r}; choose one from the page")
        return self.students.fitting(int(text), store.view().spec)

    def students_of(self, spec: TrajectorySpec) -> list[dict[str, object]]:
        """All students for a page: number, name, and why one does not fit."""
        loaded = [self.students.student(number) for number in range(len(self.students))]
        return [
            {"number": number, "name": one.name, "refused": one.refusal(spec), "timesteps": one.shared_timesteps(spec)}
            for number, one in enumerate(loaded)
        ]

    def keep_order(self, key: Hashable, order: Order) -> None:
        """Keep an answer, unless samples are missing from it: a repair brings them back, and changes nothing else."""
        if not order.unreadable:
            self.orders.put(key, order)

    def sheet(
        self, text: str, samples: list[int], timestep: int, contrast: str = "fixed", columns: int | None = None
    ) -> Sheet:
        """Samples of a side at a timestep as one picture, out of the cache if it was asked for before."""
        side = self.side(text)
        if timestep not in side.timesteps():
            raise RequestError(
                f"t must be one of the timesteps {list(side.timesteps())}, got {timestep}; choose one of them"
            )
        view = side.store.view()
        require_fitting(len(samples), columns, tile_size(view.spec.state_shape(timestep)))
        key = (text, tuple(samples), timestep, contrast, columns, view.stamp)
        held = self.sheets.get(key)
        if held is not None:
            return held
        states, marks = side.states(samples, timestep)
        pixels = tiles(states, value_range(view.manifest, timestep), contrast=contrast)
        for row, sample in enumerate(samples):
            if sample in marks:
                pixels[row] = hatched(pixels.shape[1:])
        made = sheet_of(pixels, marks, columns)
        if not marks:
            self.sheets.put(key, made)
        return made


def largest_tile(spec: TrajectorySpec) -> tuple[int, int]:
    """Width and height of the largest tile of a store; a pyramid has smaller ones too."""
    return max(tile_size(spec.state_shape(t)) for t in spec.timesteps)


def grid_facts(spec: TrajectorySpec) -> dict[str, object]:
    """What the pages' scripts have to know of a store's grid and shape."""
    return {
        "timesteps": list(spec.timesteps),
        "clean": [t for t in spec.timesteps if implies_clean(spec, t)],
        "shape": list(spec.sample_shape),
        "tile": list(largest_tile(spec)),
        "latent": latent(spec),
    }
