"""diffusers' networks from folders: autoencoders that decode latents, embeddings of prompts. Knows no teacher."""

from typing import TYPE_CHECKING, Any

from advkd.networks.autoencoder import AUTOENCODERS, autoencoder_bytes, copy_autoencoder, read_autoencoder
from advkd.networks.embeddings import (
    PROMPTS_FOLDER,
    WEIGHTS_SUM,
    adopt_embeddings,
    copy_embeddings,
    embeddings_places,
    find_embeddings,
    keep_embeddings,
    kept_embeddings,
    kept_prompts,
    load_embeddings,
)
from advkd.networks.kept import DECODER, KeptDecoder, decoder_places, keep_decoder, kept_decoder
from advkd.networks.loading import NetworkError, load_network
from advkd.networks.space import AutoencoderSpace

if TYPE_CHECKING:
    from advkd.networks.counting import multiply_adds, parameters
    from advkd.networks.stored_prompts import ENCODE, UNUSED, StoredPrompts

__all__ = [
    "AUTOENCODERS",
    "DECODER",
    "ENCODE",
    "PROMPTS_FOLDER",
    "UNUSED",
    "WEIGHTS_SUM",
    "AutoencoderSpace",
    "KeptDecoder",
    "NetworkError",
    "StoredPrompts",
    "adopt_embeddings",
    "autoencoder_bytes",
    "copy_autoencoder",
    "copy_embeddings",
    "decoder_places",
    "embeddings_places",
    "find_embeddings",
    "keep_decoder",
    "keep_embeddings",
    "kept_decoder",
    "kept_embeddings",
    "kept_prompts",
    "load_embeddings",
    "load_network",
    "multiply_adds",
    "parameters",
    "read_autoencoder",
]


def __getattr__(name: str) -> Any:
    # Pages import this room, and must not load torch for it.
    if name in ("ENCODE", "UNUSED", "StoredPrompts"):
        from advkd.networks import stored_prompts

        return getattr(stored_prompts, name)
    if name in ("multiply_adds", "parameters"):
        from advkd.networks import counting

        return getattr(counting, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
