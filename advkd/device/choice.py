"""Looks up torch devices by name; a device that this machine lacks is refused early."""

import torch

KINDS = ("cpu", "cuda")
FLOATS = ("float32", "bfloat16", "float16")
"""Names of the numbers that networks compute in."""


def computes_bfloat16(name: str) -> bool:
    """Returns whether a device has bfloat16 arithmetic: CUDA devices that support it, CPUs with AMX or AVX-512 BF16."""
    if torch.device(name).type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Older releases of torch lack `get_capabilities`.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def require_computes(device: str, numbers: str) -> None:
    """Refuses numbers (a name in `FLOATS`) in which a device has no arithmetic, and would be slower than in float32.

    Raises:
        ValueError: the device has none.
    """
    chosen = torch_device(device)
    if numbers == "bfloat16":
        able = computes_bfloat16(device)
    elif numbers == "float16":
        able = chosen.type == "cuda" or _cpu_computes_float16()
    else:
        able = True
    if not able:
        raise ValueError(
            f"a network computes in {numbers} only on a device that has such arithmetic, got {device!r}, which on this "
            "machine has not and would be many times slower; use float32, or another device"
        )


def _cpu_computes_float16() -> bool:
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_fp16") or capabilities.get("avx512_fp16"))


def torch_device(name: str) -> torch.device:
    """Returns the device called `name`: "cpu", "cuda" or "cuda:1".

    Raises:
        ValueError: the name is another one, or this machine has no such CUDA device.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in KINDS:
        raise ValueError(f"a device must be one of {KINDS}, got {name!r}; use cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"a CUDA device must be there to be used, got {name!r} where torch {torch.__version__} finds "
            f"{torch.cuda.device_count()}; use cpu, or install a CUDA build of torch on a machine with a GPU"
        )
    return device
