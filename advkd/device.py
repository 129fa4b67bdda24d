"""The torch device of a name, refused early and clearly where this machine has none."""

import torch

KINDS = ("cpu", "cuda")


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
