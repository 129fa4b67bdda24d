"""`make mutants`: every mutant of `benchmarks.mutant_rows` in a copy of the tree, and whether its tests find it.

First all tests that rows name run on the unchanged copy: they must pass, or a failure would say nothing. Then one
mutant after the other, each in a forked process that has the libraries already. `python -m benchmarks.mutants --only
TEXT` tries those whose name or file holds a text.
"""

import argparse
import importlib
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import ROOT, progress, table, write
from benchmarks.mutant_rows import MUTANTS, Mutant

COPIED = ("advkd", "storage", "flows", "tests", "benchmarks", "pyproject.toml")
# What tests import that is not ours: two thirds of the time of a short test.
_LIBRARIES = (
    *("pytest", "hypothesis", "torch", "torch.distributed", "torch.optim", "diffusers", "safetensors.torch"),
    *("numpy", "scipy.linalg", "zarr", "fsspec", "s3fs", "boto3", "sklearn.datasets", "matplotlib.figure"),
    *("typer", "rich.console", "fastapi", "jinja2", "xdist.scheduler", "torchmetrics"),
)
_DIFFUSERS = ("ConfigMixin", "ModelMixin", "DDIMPipeline", "DDPMPipeline", "DDPMScheduler", "UNet2DModel")
_PASSED, _FAILED, _BROKEN = 0, 1, 70


class MutantError(ValueError):
    """A row that cannot be tried: the message says what is wrong with it."""


@dataclass(frozen=True)
class Trial:
    """What became of a mutant."""

    mutant: Mutant
    found_by: str
    """The first test that failed, "" if none did."""
    seconds: float


def mutated(mutant: Mutant, root: Path) -> str:
    """The text of the mutant's file with its fault in it.

    Raises:
        MutantError: the old text is not there exactly once, or the new one is no Python.
    """
    path = root / mutant.file
    if not path.is_file():
        raise MutantError(f"a mutant's file must exist, got {mutant.file} for {mutant.name!r}; correct the row")
    text = path.read_text(encoding="utf-8")
    count = text.count(mutant.old)
    if count != 1:
        raise MutantError(
            f"a mutant's old text must be in {mutant.file} exactly once, got {count} of {mutant.old!r} for "
            f"{mutant.name!r}; write down what the line is now"
        )
    changed = text.replace(mutant.old, mutant.new)
    try:
        compile(changed, mutant.file, "exec")
    except SyntaxError as error:
        raise MutantError(f"a mutant must be Python, got {error} for {mutant.name!r}; correct the row") from error
    return changed


def main() -> None:
    options = _options()
    chosen = [mutant for mutant in MUTANTS if options.only in mutant.name or options.only in mutant.file]
    if not chosen:
        sys.exit(f"--only must be in a mutant's name or file, got {options.only!r}; leave it out for all")
    for mutant in MUTANTS:
        mutated(mutant, ROOT)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    _import_libraries()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = _copied(Path(folder) / "tree")
        _require_passing(copy, sorted({test for mutant in chosen for test in mutant.tests}))
        trials = [_tried(mutant, copy) for mutant in chosen]
    text = _page(trials, time.monotonic() - began)
    if options.write:
        write("mutants", text)
    else:
        print(text)
    survived = [trial.mutant.name for trial in trials if not trial.found_by]
    if survived:
        sys.exit(f"every mutant must be found, but {len(survived)} survived: {', '.join(survived)}; write their tests")


def _copied(copy: Path) -> Path:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name)
        else:
            shutil.copy2(source, copy / name)
    return copy


def _require_passing(copy: Path, tests: Sequence[str]) -> None:
    progress(f"the tests of {len(tests)} rows on the unchanged tree")
    code, said = _pytest(copy, tests, keep_bytecode=True)
    if code != _PASSED:
        raise MutantError(f"all tests of mutants must pass on the unchanged tree, got\n{said}\nmend them first")


def _tried(mutant: Mutant, copy: Path) -> Trial:
    began = time.monotonic()
    with _in_place(mutant, copy):
        code, said = _pytest(copy, mutant.tests)
    if code not in (_PASSED, _FAILED):
        raise MutantError(f"the tests of {mutant.name!r} must run, got exit code {code}:\n{said}\ncorrect the row")
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", said, re.MULTILINE)
    found_by = "" if code == _PASSED else failed.group(1) if failed else "a failure without a name"
    trial = Trial(mutant, found_by, time.monotonic() - began)
    progress(f"{'found' if found_by else 'SURVIVED'} in {trial.seconds:.0f} s: {mutant.name}")
    return trial


@contextmanager
def _in_place(mutant: Mutant, copy: Path) -> Iterator[None]:
    """The copy with one fault; then as before, its time included, by which Python knows what it has compiled."""
    path, changed = copy / mutant.file, mutated(mutant, copy)
    text, stat = path.read_text(encoding="utf-8"), path.stat()
    path.write_text(changed, encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def _pytest(copy: Path, tests: Sequence[str], *, keep_bytecode: bool = False) -> tuple[int, str]:
    """Exit code and output of pytest in a process of its own, which knows the copy alone.

    Bytecode is kept of the unchanged tree alone: a fault that is as long as the right text would be taken for it.
    """
    log = copy.parent / "log.txt"
    process = os.fork()
    if process == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        code = _BROKEN
        try:
            code = _in_child(copy, log, tests, keep_bytecode)
        except BaseException:
            traceback.print_exc()
        finally:
            # Whatever happens: nothing of the parent's, its folder least of all, is tidied up here.
            sys.stderr.flush()
            os._exit(code)
    try:
        _, status = os.waitpid(process, 0)
    except BaseException:
        # Ended itself: no tests go on without it.
        os.kill(process, signal.SIGTERM)
        os.waitpid(process, 0)
        raise
    return os.waitstatus_to_exitcode(status), log.read_text(encoding="utf-8", errors="replace")


def _in_child(copy: Path, log: Path, tests: Sequence[str], keep_bytecode: bool) -> int:
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(copy)
    os.environ["PYTHONPATH"] = str(copy)
    for name in [name for name in sys.modules if name.partition(".")[0] in COPIED]:
        del sys.modules[name]
    sys.path[:] = [str(copy), *(place for place in sys.path if place and Path(place).resolve() != ROOT)]
    sys.dont_write_bytecode = not keep_bytecode
    import pytest

    # Plugins among the libraries were imported before pytest could rewrite their assertions.
    quiet = ["--quiet", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    code = pytest.main(["--exitfirst", *quiet, "--basetemp", str(copy.parent / "tmp"), *tests])
    sys.stdout.flush()
    return int(code)


def _import_libraries() -> None:
    for name in _LIBRARIES:
        importlib.import_module(name)
    diffusers = importlib.import_module("diffusers")
    for name in _DIFFUSERS:
        getattr(diffusers, name)


def _page(trials: Sequence[Trial], seconds: float) -> str:
    rows = [
        [
            trial.mutant.name,
            f"`{trial.mutant.file}`",
            f"`{_short(trial.found_by)}`" if trial.found_by else "**survived**",
        ]
        for trial in trials
    ]
    found = sum(bool(trial.found_by) for trial in trials)
    return (
        "# Mutants\n\n"
        f"`make mutants`: {len(trials)} wrong lines, each alone in a copy of the tree, and the narrowest tests that "
        f"must not let it pass (`benchmarks/mutant_rows/`). {found} found, {len(trials) - found} survived, "
        f"{seconds:.0f} s in all; every named test passes on the unchanged tree.\n\n"
        f"{table(['what is wrong', 'in', 'found by'], rows)}"
    )


def _short(test: str) -> str:
    """File and function of a test, without its folders and parameters."""
    return f"`{test.partition('[')[0].rpartition('/')[2]}`" if test else "**survived**"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="mutants whose name or file holds this text")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/mutants.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
