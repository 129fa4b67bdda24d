"""What families of latent teachers have in common: the autoencoder in their folder, and the space that it makes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from advkd.files import files_sha256
from advkd.networks import AUTOENCODERS, AutoencoderSpace, NetworkError, load_network, read_autoencoder
from advkd.teachers.errors import TeacherChangedError, TeacherError
from advkd.teachers.folder import files_stamp, read_json
from advkd.teachers.weights import weights_of


def check_component(folder: Path, part: str, classes: tuple[str, ...]) -> None:
    """Refuses a pipeline's component of an unknown class; its own config must name the same class as the index.

    Raises:
        TeacherError: it is another class, or there is no such component.
    """
    index = read_json(folder / "model_index.json")
    named = index.get(part)
    if named not in [["diffusers", name] for name in classes]:
        raise TeacherError(
            f"the {part} of a {index.get('_class_name')} must be a diffusers {' or '.join(classes)}, got {named!r} in "
            f"{folder}; convert it or choose another teacher"
        )
    own = read_json(folder / part / "config.json").get("_class_name")
    if own != named[1]:
        raise TeacherError(
            f"a component's config must be of the class that the pipeline names, got {own!r} for {named[1]} in "
            f"{folder / part}; save the pipeline again"
        )


def component_files(folder: Path, part: str) -> tuple[Path, ...]:
    """Returns a component's config and its weights with all shards; raises `WeightsError` if there are none."""
    return folder / part / "config.json", *(folder / part / name for name in weights_of(folder / part).names)


def check_autoencoder(folder: Path, part: str) -> None:
    """Refuses an autoencoder by its config; raises `TeacherError`, see `read_autoencoder`."""
    check_component(folder, part, tuple(AUTOENCODERS))
    with _of_a_teacher():
        read_autoencoder(folder / part)


def latent_space(folder: Path, part: str, shape: tuple[int, int, int]) -> AutoencoderSpace:
    """Returns the space of a teacher's states `[C, H, W]`; raises `TeacherError` if its autoencoder cannot be used."""
    with _of_a_teacher():
        return AutoencoderSpace.of(folder / part, shape)


def load_component(kind: Any, folder: Path) -> Any:
    """Loads the network in a folder on the CPU; raises `TeacherError` if its weights do not fit."""
    variant = weights_of(folder).variant
    with _of_a_teacher():
        network = load_network(kind, folder, variant)
    headless = next((name for name, part in network.named_modules() if getattr(part, "heads", 1) == 0), None)
    if headless is not None:
        raise TeacherError(
            f"attention needs one head or more, got none in {headless} of {folder}, which has fewer channels than "
            "attention_head_dim; use a network that was trained with a smaller attention_head_dim"
        )
    return network


@contextmanager
def _of_a_teacher() -> Iterator[None]:
    try:
        yield
    except NetworkError as error:
        raise TeacherError(str(error)) from error


class SteadyFolder:
    """A folder that must stay as it is while a teacher is loaded from it.

    Attributes:
        fingerprint: sha256 over the deciding files.
    """

    def __init__(self, folder: Path, deciding_files: Callable[[Path], tuple[Path, ...]]) -> None:
        """Reads the fingerprint; raises `TeacherError` if a file is missing."""
        self._folder, self._files = folder, deciding_files
        files = deciding_files(folder)
        self._stamp = files_stamp(files)
        self.fingerprint = files_sha256(folder, files)

    def require_unchanged(self) -> None:
        """Raises `TeacherChangedError` if the folder changed since."""
        if files_stamp(self._files(self._folder)) != self._stamp:
            raise TeacherChangedError(
                f"a teacher must stay as it is while it is read, but {self._folder} changed meanwhile; wait until it "
                "is whole and run again"
            )
