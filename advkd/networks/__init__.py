"""diffusers' networks from folders, and the autoencoders that latents are decoded with. Knows no teacher."""

from advkd.networks.autoencoder import AUTOENCODERS, autoencoder_bytes, copy_autoencoder, read_autoencoder
from advkd.networks.kept import DECODER, KeptDecoder, decoder_places, keep_decoder, kept_decoder
from advkd.networks.loading import NetworkError, load_network
from advkd.networks.space import AutoencoderSpace

__all__ = [
    "AUTOENCODERS",
    "DECODER",
    "AutoencoderSpace",
    "KeptDecoder",
    "NetworkError",
    "autoencoder_bytes",
    "copy_autoencoder",
    "decoder_places",
    "keep_decoder",
    "kept_decoder",
    "load_network",
    "read_autoencoder",
]
