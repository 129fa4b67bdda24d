"""The `advkd` command: runs the specs of the flows without Prefect.

Progress goes to stderr. The last line of stdout is the URI of the result; with `--json`, stdout is one JSON object that
holds it. Bad input ends the command with exit code 1 and a message of rule, fact and remedy.

A command is imported when it is named: torch and diffusers take seconds, and most commands need neither.
"""

import io
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import entry_points
from pkgutil import resolve_name
from typing import Any

import typer

from advkd.runtime import (
    SilencedError,
    die_with_parent,
    let_idle_threads_sleep,
    relay_logs,
    spare_loopback,
    started_by_torchrun,
)
from storage import StoreError

COMMANDS: Mapping[str, str] = {
    "cache": "advkd.cli.cache:app",
    "teacher": "advkd.cli.teacher:app",
    "evaluation": "advkd.cli.evaluation:app",
    "registry": "advkd.cli.registry:app",
    "browse": "advkd.cli.browse:browse_command",
    "plan": "advkd.cli.plan:plan_command",
    "precompute": "advkd.cli.precompute:precompute_command",
    "train": "advkd.cli.students:train_command",
    "evaluate": "advkd.cli.evaluate:evaluate_command",
    "sample": "advkd.cli.students:sample_command",
    "export": "advkd.cli.export:export_command",
    "demo": "advkd.cli.demo:demo_command",
}
"""Commands and groups of commands. Packages above this one add theirs by entry points `advkd.commands`."""

_OF_CACHE: Mapping[str, str] = {"plan": "advkd.cli.cache_plan:plan_command"}
"""Those of `advkd cache` that need a teacher, and with it torch."""

_SILENCED_SECONDS = 5.0


def main() -> None:
    """Runs the command line; turns our own errors into one line on stderr (of rank 0) and exit code 1."""
    spare_loopback()
    let_idle_threads_sleep()
    _write_any_path()
    relay_logs()
    if started_by_torchrun() and (end_with_launcher := die_with_parent()):
        # torchrun ends its processes, unless it is killed itself: they would then train on unattended.
        end_with_launcher()
    try:
        command_line(sys.argv[1:])()
    except KeyboardInterrupt:
        sys.exit(130)
    except SilencedError:
        # torchrun ends all processes with the first that exits; let the one that reports the error be the first.
        time.sleep(_SILENCED_SECONDS)
        sys.exit(1)
    except (StoreError, ValueError, OSError, ArithmeticError) as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        sys.exit(1)


def _write_any_path() -> None:
    """Lets stdout and stderr take paths whose bytes are no text: they are written as the bytes that they are."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower().replace("-", "") == "utf8":
            stream.reconfigure(errors="surrogateescape")


def command_line(arguments: Sequence[str] = ()) -> typer.Typer:
    """Returns the command line with the command that the arguments name, or with all where they name none."""
    app = typer.Typer(
        name="advkd",
        help="Distil a diffusion teacher into a one-pass student: cache trajectories, train, evaluate, sample.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    # Typer would take a single command for the whole command line.
    app.callback()(lambda: None)
    first, second = (*arguments[:2], "", "")[:2]
    own = {name: partial(resolve_name, place) for name, place in COMMANDS.items()}
    added = {point.name: point.load for point in entry_points(group="advkd.commands")}
    groups = _add(app, added | own, first)
    if "cache" in groups:
        _add(groups["cache"], {name: partial(resolve_name, place) for name, place in _OF_CACHE.items()}, second)
    return app


def _add(app: typer.Typer, commands: Mapping[str, Callable[[], Any]], word: str) -> dict[str, typer.Typer]:
    """Adds the command that a word names, or all if it names none, for a help or a message; returns the groups."""
    present = {command.name for command in app.registered_commands}
    groups = {}
    for name, load in commands.items():
        if name in present or (word != name and word in {*present, *commands}):
            continue
        command = load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
            groups[name] = command
        else:
            app.command(name)(command)
    return groups
