"""The instants of a training run: after every step, and around and within every change that it makes on the disk."""

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch

import advkd.training.checkpoint
from advkd.training.methods.layerwise import LayerwiseMethod
from tests.advkd.trajectories.forked import command


def train_and_die(number: int, *arguments: str) -> None:
    """`advkd ARGUMENTS` that kills itself with SIGKILL at the instant of a number, counted from 0."""
    seen = []

    def reached(name: str) -> None:
        seen.append(name)
        if len(seen) > number:
            os.kill(os.getpid(), signal.SIGKILL)

    _divide(reached)
    command(*arguments)


def train_and_list(listing: str, *arguments: str) -> None:
    """`advkd ARGUMENTS`, and the names of its instants in a file, one a line."""
    seen: list[str] = []
    _divide(seen.append)
    with contextlib.suppress(SystemExit):
        command(*arguments)
    Path(listing).write_text("\n".join(seen))


def _divide(reached: Callable[[str], None]) -> None:
    _divide_calls(reached)
    save, write_text, step = safetensors.torch.save_file, Path.write_text, LayerwiseMethod.step

    def saved(tensors: Any, path: Any, *rest: Any, **named: Any) -> None:
        save(tensors, path, *rest, **named)
        whole = Path(path).read_bytes()
        Path(path).write_bytes(whole[: len(whole) // 2])
        reached(f"half {path}")
        Path(path).write_bytes(whole)
        reached(f"whole {path}")

    def written(self: Path, text: str, *rest: Any, **named: Any) -> int:
        write_text(self, text[: len(text) // 2])
        reached(f"half {self}")
        return write_text(self, text, *rest, **named)

    def stepped(self: LayerwiseMethod, batch: Any) -> Any:
        phase = self.phase()
        found = step(self, batch)
        reached(f"step of {phase}")
        return found

    safetensors.torch.save_file = saved
    advkd.training.checkpoint.save_file = saved
    Path.write_text = written  # type: ignore[method-assign]
    LayerwiseMethod.step = stepped  # type: ignore[method-assign]


def _divide_calls(reached: Callable[[str], None]) -> None:
    for name in ("mkdir", "rename", "unlink", "rmdir"):
        call = getattr(os, name)

        def called(path: Any, *rest: Any, call: Callable[..., Any] = call, name: str = name, **named: Any) -> None:
            if name == "rename":
                reached(f"before rename {path}")
            call(path, *rest, **named)
            reached(f"after {name} {path}")

        setattr(os, name, called)
