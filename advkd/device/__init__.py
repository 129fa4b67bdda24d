"""Where torch computes: devices, threads, denormal numbers."""

from advkd.device.choice import KINDS, computes_bfloat16, torch_device
from advkd.device.threads import no_denormals, torch_threads

__all__ = [
    "KINDS",
    "computes_bfloat16",
    "no_denormals",
    "torch_device",
    "torch_threads",
]
