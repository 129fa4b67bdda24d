"""Tests of permissions where root runs them too: a process of root without the right to ignore permissions."""

import ctypes
import os

_VERSION_3 = 0x20080522
_IGNORES_PERMISSIONS = 1 << 1 | 1 << 2
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, of linux/capability.h."""


def respect_permissions() -> None:
    """From now on this process is refused what others would be; only root had a right to give up."""
    if os.geteuid():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    if libc.capget(header, sets) == 0:
        # Effective, permitted, inheritable, of the first 32 capabilities.
        for number in range(3):
            sets[number] &= ~_IGNORES_PERMISSIONS
        if libc.capset(header, sets) == 0:
            return
    raise OSError(ctypes.get_errno(), "capabilities must be given up")
