"""Where torch computes: devices, threads, denormal numbers."""

from advkd.device.choice import FLOATS, KINDS, computes_bfloat16, require_computes, torch_device
from advkd.device.clock import work_clock
from advkd.device.live_bytes import LiveBytes
from advkd.device.memory import memory_capacity
from advkd.device.threads import no_denormals, torch_threads

__all__ = [
    "FLOATS",
    "KINDS",
    "LiveBytes",
    "computes_bfloat16",
    "memory_capacity",
    "no_denormals",
    "require_computes",
    "torch_device",
    "torch_threads",
    "work_clock",
]
