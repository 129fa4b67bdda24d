"""Teachers: diffusion models as sources of trajectories."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from advkd.files import is_remote
from advkd.runtime import is_factory
from advkd.teachers.base import AUTO, SolverSpec, Teacher
from advkd.teachers.batching import MicroBatch, micro_batch
from advkd.teachers.conversion import convert_teacher
from advkd.teachers.dit import DiTTeacher
from advkd.teachers.errors import TeacherChangedError, TeacherError
from advkd.teachers.families import (
    TEACHERS,
    Family,
    check_folder,
    deciding_files,
    family_of,
    folder_fingerprint,
    load_folder,
    takes_prompts,
)
from advkd.teachers.fitting import fitting_solver
from advkd.teachers.folder import slug
from advkd.teachers.guidance import guided
from advkd.teachers.mixture import digits_mixture_teacher
from advkd.teachers.network import FixedCondition, NetworkTeacher
from advkd.teachers.noised import NoisedStates, noised_states
from advkd.teachers.options import TeacherOptions, split_options, with_option, with_options
from advkd.teachers.pins import pinned, split_pin
from advkd.teachers.precision import FLOAT32, PRECISION, PreciseTeacher, in_precision
from advkd.teachers.prediction_check import check_prediction
from advkd.teachers.prompt_file import read_prompts
from advkd.teachers.python import python_teacher
from advkd.teachers.sizes import require_sized
from advkd.teachers.solvers import SOLVERS, Solver
from advkd.teachers.solving import time_grid
from advkd.teachers.sources import (
    HubId,
    hub_id,
    resolve_source,
    teacher_name,
)
from advkd.teachers.text import TextFamily, TextTeacher, text_pipeline
from advkd.teachers.unet import UNetTeacher
from advkd.teachers.weights import Weights, WeightsError, weights_of

DIGITS_FOLDER = Path(__file__).parent / "digits" / "pipeline"
DIGITS_CLASSES_FOLDER = Path(__file__).parent / "digits_classes" / "pipeline"
EMOJI_FOLDER = Path(__file__).parent / "emoji" / "pipeline"

EMBEDDED: dict[str, Callable[[str], Teacher]] = {
    "digits": lambda device: UNetTeacher(DIGITS_FOLDER, name="digits", device=device),
    "digits-classes": lambda device: DiTTeacher(DIGITS_CLASSES_FOLDER, name="digits-classes", device=device),
    "emoji": lambda device: UNetTeacher(EMOJI_FOLDER, name="emoji", device=device),
    "mixture": lambda device: digits_mixture_teacher(),
}


def load_teacher(source: str, device: str = "cpu") -> Teacher:
    """Loads a teacher: an embedded name, a diffusers folder, its URI, a hub id, or a factory in Python.

    The source may end with options (`#prompts=FILE&size=512&guidance=7.5`), and after these with a pin.

    Raises:
        TeacherError: the source does not exist or holds no supported teacher. `TeacherChangedError`: its fingerprint
            is not the one that the source is pinned to (`#sha256=<fingerprint>`).
        StoreError: the object store could not deliver the teacher.
        ValueError: the URI holds credentials.
    """
    place, fingerprint = split_pin(source)
    place, options = split_options(place)
    # A copy of a folder is known by the fingerprint of the teacher as it lies there.
    teacher = with_options(_load(place, fingerprint if options == TeacherOptions() else None, device, options), options)
    if fingerprint not in (None, teacher.fingerprint):
        raise TeacherChangedError(
            f"a pinned teacher must still be what it was, got {teacher.fingerprint[:12]} instead of "
            f"{str(fingerprint)[:12]} at {place}; it was replaced: distil what is there now, or put the old one back"
        )
    return teacher


def hub_repository(source: str) -> str:
    """Returns the repository of a teacher of the hub, `owner/name` without revision and options; "" for others."""
    hub = hub_id(split_options(split_pin(source)[0])[0])
    return "" if hub is None else hub.repository


def load_text_encoder(source: str, facts: Mapping[str, Any]) -> Any:
    """Loads the text encoder of a teacher of prompts, as its diffusers pipeline without a network, on the CPU.

    Args:
        source: folder, URI or hub id of the teacher's pipeline; options and pin do not count.
        facts: of the prompts (`advkd.diffusion.Prompts`), which name the encoder's content.

    Raises:
        TeacherError: there is none, or another one. `StoreError`: the object store could not deliver it.
    """
    place, _ = split_options(split_pin(source)[0])
    folder = _folder(place, None)
    family = family_of(folder)
    if not isinstance(family, TextFamily):
        raise TeacherError(f"a text encoder is that of a teacher of prompts, got a pipeline without one in {place}")
    return text_pipeline(family, folder, facts)


def _load(place: str, fingerprint: str | None, device: str, options: TeacherOptions) -> Teacher:
    # What is wrong with a list of prompts is said before anything is fetched.
    prompts = None if options.prompts is None else read_prompts(options.prompts)
    if is_alone(place):
        if options.sample_size is not None:
            require_sized(None, place)
        return _without_text(EMBEDDED[place](device) if place in EMBEDDED else python_teacher(place, device), options)
    folder = _folder(place, fingerprint)
    if prompts is None and takes_prompts(folder):
        raise TeacherError(
            f"a teacher of prompts must be told them, got none for {place}; write one on each line of a file, and "
            f"name it: `{place}#prompts=FILE`"
        )
    # A copy's folder is named after its content or revision, so name the teacher after its place.
    name = None if folder == Path(place) else slug(teacher_name(place))
    teacher = load_folder(folder, name, device, options.sample_size)
    if not isinstance(teacher, TextTeacher):
        return _without_text(teacher, options)
    sized = teacher if options.size is None else teacher.sized(options.size)
    hub = hub_id(place)
    # Snapshots of the hub are folders named by their commit.
    return sized.prompted(prompts or (), "" if hub is None else f"{hub.repository}@{folder.name}")


def _folder(place: str, fingerprint: str | None) -> Path:
    try:
        return resolve_source(place, fingerprint)
    except TeacherError as error:
        if is_remote(place):
            raise
        raise type(error)(f"{error}; the embedded names are {sorted(EMBEDDED)}") from error


def is_alone(place: str) -> bool:
    """Returns whether a teacher has no folder: an embedded one, or one in Python."""
    return place in EMBEDDED or (is_factory(place) and not Path(place).is_dir())


def _without_text(teacher: Teacher, options: TeacherOptions) -> Teacher:
    for name, value in (("prompts", options.prompts), ("size", options.size)):
        if value is not None:
            raise TeacherError(
                f"{name} are said of teachers with a text encoder, such as a StableDiffusionPipeline, got {value!r} "
                f"for {teacher.name!r}; leave it out"
            )
    return teacher


__all__ = [
    "AUTO",
    "EMBEDDED",
    "FLOAT32",
    "PRECISION",
    "SOLVERS",
    "TEACHERS",
    "Family",
    "FixedCondition",
    "HubId",
    "MicroBatch",
    "NetworkTeacher",
    "NoisedStates",
    "PreciseTeacher",
    "Solver",
    "SolverSpec",
    "Teacher",
    "TeacherChangedError",
    "TeacherError",
    "TeacherOptions",
    "TextTeacher",
    "Weights",
    "WeightsError",
    "check_folder",
    "check_prediction",
    "convert_teacher",
    "deciding_files",
    "fitting_solver",
    "folder_fingerprint",
    "guided",
    "hub_id",
    "hub_repository",
    "in_precision",
    "is_alone",
    "is_factory",
    "load_teacher",
    "load_text_encoder",
    "micro_batch",
    "noised_states",
    "pinned",
    "resolve_source",
    "split_options",
    "split_pin",
    "teacher_name",
    "time_grid",
    "weights_of",
    "with_option",
]
