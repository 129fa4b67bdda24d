"""Reads one file of pickled tensors and writes safetensors: `python -I unpickling.py PICKLE SAFETENSORS SECONDS`.

Run as a process of its own, with bounded time and memory, because the pickle may be anybody's; torch's `weights_only`
makes tensors alone of it and runs nothing. Knows neither this package nor its caller. Bad input: one line on stderr,
exit code 1.
"""

import resource
import sys
from pathlib import Path

_COPIES = 4
_SPARE_BYTES = 1 << 30


def main(source: Path, target: Path, seconds: int) -> None:
    """Converts one file.

    Raises:
        Exception: whatever torch and safetensors make of a file that is no plain dict of tensors.
    """
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    import torch
    from safetensors.torch import save_file

    _bound_memory(_COPIES * source.stat().st_size + _SPARE_BYTES)
    loaded = torch.load(source, map_location="cpu", weights_only=True)
    if not isinstance(loaded, dict) or not loaded:
        raise TypeError(f"{type(loaded).__name__} instead of a dict of tensors")
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise TypeError(f"{type(value).__name__} at {name!r} instead of a tensor")
    # safetensors takes no tensors that share memory.
    tensors = {name: value.detach().to_dense().contiguous().clone() for name, value in loaded.items()}
    save_file(tensors, target, metadata={"format": "pt"})


def _bound_memory(more: int) -> None:
    """Allows so many bytes beyond what the process has mapped."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        mapped = int(statm.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + more, mapped + more))


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        sys.exit(f"{type(error).__name__}: {first[:200]}")
