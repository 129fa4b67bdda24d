"""Options that change single settings of a preset, for all commands that take one."""

import re
from typing import Annotated

import typer

Width = Annotated[int | None, typer.Option(help="Channels of the student's finest level, instead of the preset's.")]
Blocks = Annotated[int | None, typer.Option(help="Residual blocks per submodule and level.")]
Patch = Annotated[int | None, typer.Option(help="Side of the pixel block that is one position.")]
BatchSize = Annotated[int | None, typer.Option(help="Trajectories per step.")]
Mirror = Annotated[
    str | None,
    typer.Option(help="Mirror trajectories of a teacher whose training images were: all, or its classes 0,1,5."),
]


def mirror_of(said: str | None) -> bool | tuple[int, ...] | None:
    """Reads `--mirror`.

    Raises:
        ValueError: it is neither "all" nor whole numbers with commas between them.
    """
    if said is None or said == "all":
        return None if said is None else True
    if re.fullmatch(r"\d+(,\d+)*", said, re.ASCII) is None:
        raise ValueError(f"--mirror must be all, or numbers of classes such as 0,1,5, got {said!r}; say one of them")
    return tuple(map(int, said.split(",")))
