"""The torch device of a name, refused early and clearly where this machine has none."""

import torch

KINDS = ("cpu", "cuda")


def computes_bfloat16(name: str) -> bool:
    """Whether a device has arithmetic for bfloat16: CUDA devices, and CPUs with AMX or AVX-512 BF16."""
    if torch.device(name).type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Older releases of torch do not tell.
    found: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(found.get("amx_bf16") or found.get("avx512_bf16"))


def torch_device(name: str) -> torch.device:
    """The device called `name`: "cpu", "cuda" or "cuda:1".

    Raises:
        ValueError: another name, or a CUDA device that is not there.
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
