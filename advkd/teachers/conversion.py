"""Makes a safetensors folder of a teacher whose weights are pickles; nothing else in this project opens a pickle."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from advkd.files import whole_folder
from advkd.teachers.checkpoints import INDEX
from advkd.teachers.errors import TeacherError
from advkd.teachers.families import check_folder, family_of
from advkd.teachers.folder import read_json
from advkd.teachers.needed import configs_and_weights
from advkd.teachers.pins import split_pin
from advkd.teachers.sources import resolve_pickled
from advkd.teachers.weights import PICKLE, SAFETENSORS, WeightsError, is_index

_SCRIPT = Path(__file__).with_name("unpickling.py")
_SECONDS = 600


def convert_teacher(source: str, out: Path, heard: Callable[[int, int], object] | None = None) -> None:
    """Writes a folder with a teacher's configs and, as safetensors, its weights; the folder is whole or not there.

    Args:
        source: folder, URI or hub id of a pipeline with pickled weights.
        out: folder to make.
        heard: called with the number of files of weights that are done, and with how many there are.

    Raises:
        TeacherError: no teacher of a known family, one that has safetensors already, or pickles that are no plain
            dicts of tensors.
        StoreError: the object store could not deliver the teacher.
        ValueError: the folder to make is there already, or the URI holds credentials.
        OSError: the folder cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"a converted teacher needs a new folder, got {out}, which is there already; choose another")
    place, pin = split_pin(source)
    if pin is not None:
        raise TeacherError(
            f"only safetensors can be pinned, got a pin of pickles at {place}; convert without, then pin"
        )
    folder = resolve_pickled(place)
    try:
        configs, weights = _parts(folder)
        with whole_folder(out, "a converted teacher") as partial:
            try:
                _convert(folder, configs, weights, partial, heard or (lambda done, total: None))
                check_folder(partial)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
    except TeacherError as error:
        # A copy's folder says nothing to people.
        raise type(error)(str(error).replace(str(folder), place)) from error


def _parts(folder: Path) -> tuple[list[str], list[str]]:
    family = family_of(folder)
    try:
        family.check(folder)
    except WeightsError:
        listed = (path for pattern in ("*", "*/*") for path in folder.glob(pattern) if path.is_file())
        return configs_and_weights(folder, [path.relative_to(folder).as_posix() for path in listed], PICKLE)
    raise TeacherError(
        f"only a teacher with nothing but pickles is converted, got safetensors in {folder}; use it as it is"
    )


def _convert(
    folder: Path, configs: list[str], weights: list[str], partial: Path, heard: Callable[[int, int], object]
) -> None:
    for name in (INDEX, *configs, *weights):
        (partial / name).parent.mkdir(parents=True, exist_ok=True)
    for name in (INDEX, *(name for name in configs if name not in weights)):
        shutil.copyfile(folder / name, partial / name)
    for name in filter(is_index, weights):
        index = read_json(folder / name)
        index["weight_map"] = {tensor: _renamed(shard) for tensor, shard in index["weight_map"].items()}
        (partial / _renamed(name)).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    pickles = [name for name in weights if not is_index(name)]
    for done, name in enumerate(pickles):
        heard(done, len(pickles))
        _unpickle(folder / name, partial / _renamed(name))
    heard(len(pickles), len(pickles))


def _renamed(name: str) -> str:
    """`x.bin` is `x.safetensors`, its index alike; transformers' `pytorch_model.bin` is `model.safetensors`."""
    stem, dot, rest = name.rpartition(f".{PICKLE}")
    where, slash, base = stem.rpartition("/")
    base = base.removeprefix("pytorch_") if base.startswith("pytorch_model") else base
    return f"{where}{slash}{base}.{SAFETENSORS}{rest}" if dot else name


def _unpickle(source: Path, target: Path) -> None:
    command = [sys.executable, "-I", str(_SCRIPT), str(source), str(target), str(_SECONDS)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise _refused(source, f"no end after {_SECONDS} s") from error
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise _refused(source, last[0])


def _refused(source: Path, fact: str) -> TeacherError:
    return TeacherError(
        f"pickled weights must be a plain dict of tensors, which torch reads with weights_only=True, got {fact} for "
        f"{source}; ask its maker for safetensors, or save it again with safe_serialization=True"
    )
