"""How much memory a device has in all: a fact of the machine, whatever else runs there.

What is free changes from moment to moment; sizes that decide bytes must not.
"""

import os
from pathlib import Path

import torch

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


def memory_capacity(device: torch.device) -> int:
    """Returns the bytes of a device: on the CPU the machine's, or its control group's limit if that is smaller."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_limits()])


def _limits() -> list[int]:
    """Returns the limits of this process's control groups, of both versions; no limit is "max" or a huge number."""
    limits = []
    for file in _limit_files():
        try:
            limits.append(int(file.read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return limits


def _limit_files() -> list[Path]:
    try:
        lines = _OWN_CGROUP.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    files = [_CGROUPS / "memory.max", _CGROUPS / "memory" / "memory.limit_in_bytes"]
    for line in lines:
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        group = path.lstrip("/")
        if number == "0":
            # Each group is also bound by those above it.
            steps = [_CGROUPS / group, *(_CGROUPS / group).parents]
            files += [step / "memory.max" for step in steps if step.is_relative_to(_CGROUPS)]
        elif "memory" in controllers.split(","):
            files.append(_CGROUPS / "memory" / group / "memory.limit_in_bytes")
    return files
