"""The rule from the shape of states to that of networks: patch and levels.

A grid of positions is as fine as the preset pays for. Levels halve it until eight positions on a side are left, where
the 3x3 convolutions of a student see the whole image.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from advkd.discriminators import DiscriminatorSpec
from advkd.students import StudentSpec, check_division

Shape = tuple[int, int, int]
_COARSEST = 8
_BOTTOM = 2
_NARROWER = 0.75
EIGHT = 8
"""Widths are its multiples: kernels are computed in eights."""


@dataclass(frozen=True)
class Geometry:
    """How images become positions.

    Attributes:
        patch: side of the pixel block that is one position of the finest level.
        levels: number of levels of a submodule; each halves the sides.
        positions: of the coarsest level, on the longer side.
    """

    patch: int
    levels: int
    positions: int


def geometry(shape: Shape, finest: int, patch: int | None = None, reach: int = _COARSEST) -> Geometry:
    """Returns the geometry of states `[C, H, W]`, with the patch if one is given.

    The patch is the smallest from 2 on that divides both sides and leaves at most `finest` positions on the longer one
    and eight on the shorter. Where there is none, as for 4x4 or 25x25, it is 1 if the longer side has at most `finest`
    pixels, or else the smallest that leaves as many positions. Levels halve the grid to eight positions on a side, or
    to as few as blocks that see `reach` positions far can span.

    Raises:
        ValueError: a side is a single pixel, or the patch does not divide both sides.
    """
    sides = shape[1:]
    if min(sides) < 2:
        raise ValueError(
            f"a preset makes students of states with at least 2x2 positions, got {sides[0]}x{sides[1]}; train a "
            "student of your own by --spec"
        )
    if patch is None:
        dividing = [p for p in range(1, min(sides) // 2 + 1) if not any(side % p for side in sides)]
        fitting = [p for p in dividing if max(sides) <= finest * p and _levels(sides, p, reach)[1] <= reach + 1]
        patch = next((p for p in fitting if p > 1 and min(sides) >= _COARSEST * p), fitting[0] if fitting else 1)
    else:
        check_division(*sides, patch)
    return Geometry(patch, *_levels(sides, patch, reach))


def _levels(sides: Sequence[int], patch: int, reach: int) -> tuple[int, int]:
    """Returns the number of levels, and the positions of the coarsest on its longer side."""
    grid, levels = [side // patch for side in sides], 1
    while max(grid) > min(_COARSEST, reach + 1) and not any(side % 2 for side in grid):
        grid, levels = [side // 2 for side in grid], levels + 1
    return levels, max(grid)


def fitted_student(
    student: StudentSpec, shape: Shape, finest: int, submodules: int, patch: int | None = None
) -> StudentSpec:
    """Returns a preset's student for states `[C, H, W]`, with the patch if one is given.

    Of several levels the finest has three quarters of the preset's width, in whole eights: coarser ones are wider. With
    emoji, at 32x32, that is nearer to the teacher than the whole width, at half of its cost (docs/recipe.md).

    Raises:
        ValueError: no rule covers the shape: a pixel would not depend on all the noise.
    """
    chosen = geometry(shape, finest, patch, _reach(student, submodules))
    fitted = replace(student, patch=chosen.patch, levels=chosen.levels)
    if chosen.levels > 1:
        fitted = replace(fitted, width=in_eights(_NARROWER * student.width))
    check_sight(fitted, shape, submodules)
    return fitted


def in_eights(width: float) -> int:
    """Returns the multiple of eight that is nearest to a width, at least eight."""
    return max(EIGHT, EIGHT * round(width / EIGHT))


def check_sight(student: StudentSpec, shape: Shape, submodules: int) -> None:
    """Refuses a student whose pixels do not depend on all the noise.

    Each block of the coarsest level sees two positions further. What finer levels add is not counted.

    Raises:
        ValueError: the rule, with the reach and the size.
    """
    if student.attention:
        return
    reach = _reach(student, submodules)
    positions = max(shape[1:]) // (student.patch * 2 ** (student.levels - 1))
    if positions - 1 > reach:
        raise ValueError(
            f"every pixel of a student depends on all the noise, got {shape[1]}x{shape[2]} with {positions} positions "
            f"at the coarsest of {student.levels} level(s), where {reach // 2} blocks see {reach} positions far; use "
            "images whose sides are multiples of a power of two, a larger --patch, or more --blocks"
        )


def _reach(student: StudentSpec, submodules: int) -> int:
    blocks = (student.blocks,) * submodules if isinstance(student.blocks, int) else student.blocks
    return 2 * sum(blocks)


def fitted_discriminator(discriminator: DiscriminatorSpec, shape: Shape, finest: int) -> DiscriminatorSpec:
    """Returns a preset's discriminator for images `[C, H, W]`: halved until about two positions are left on a side."""
    patch = geometry(shape, finest).patch
    grid, levels = max(shape[1:]) // patch, 0
    while grid > _BOTTOM:
        grid, levels = (grid + 1) // 2, levels + 1
    return replace(discriminator, patch=patch, levels=max(discriminator.levels, levels))
