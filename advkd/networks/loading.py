"""Loads diffusers' networks from local folders: safetensors only, in float32, one at a time per process.

Pages import this file, so importing it imports no torch.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# While diffusers loads a model, it patches torch for the whole process. Two loads at once can leave the patch in place;
# networks built later would then have no memory ("meta") or no initial weights.
_LOADING = threading.Lock()


class NetworkError(ValueError):
    """A folder holds no usable network; the message says what is wrong and how to fix it."""


@contextmanager
def _no_bar() -> Iterator[None]:
    """Keeps diffusers' own progress bar over shards away from logs and JSON."""
    from diffusers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def load_network(kind: Any, folder: Path, variant: str | None = None) -> Any:
    """Loads a network on the CPU in float32, in evaluation mode and without gradients.

    Args:
        kind: the class, one of diffusers'; the config may not choose another.
        folder: with config.json and safetensors.
        variant: of the safetensors, as their names say it, such as "fp16".

    Raises:
        NetworkError: there are no safetensors, or they do not fit the config.
    """
    import torch

    try:
        with _LOADING, _no_bar():
            network, loading = kind.from_pretrained(
                folder,
                use_safetensors=True,
                torch_dtype=torch.float32,
                variant=variant,
                local_files_only=True,
                output_loading_info=True,
            )
    except Exception as error:
        raise NetworkError(
            f"a network's weights must fit its config, got {type(error).__name__} while loading {folder}; "
            "save the pipeline again"
        ) from error
    # diffusers only warns about missing and unexpected weights, and leaves missing ones uninitialised.
    wrong = {what: names[:3] for what, names in loading.items() if names}
    if wrong:
        raise NetworkError(f"a network's weights must fit its config, got {wrong} in {folder}; save the pipeline again")
    return network.eval().requires_grad_(False)
