"""Options that change single settings of a preset, for all commands that take one."""

from typing import Annotated

import typer

Width = Annotated[int | None, typer.Option(help="Channels of the student's finest level, instead of the preset's.")]
Blocks = Annotated[int | None, typer.Option(help="Residual blocks per submodule and level.")]
Patch = Annotated[int | None, typer.Option(help="Side of the pixel block that is one position.")]
BatchSize = Annotated[int | None, typer.Option(help="Trajectories per step.")]
