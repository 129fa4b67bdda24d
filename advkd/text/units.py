"""Formats sizes, durations and ages. Pure functions."""

import time

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB")


_DURATIONS = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"))


def size_text(size: float) -> str:
    """Formats bytes in units of 1024, as for disks and memory: `115.0 MiB`."""
    return _in_units(size, 1024, _BINARY)


def billed_text(size: float) -> str:
    """Formats bytes in units of 1000, as object stores bill them: `196.6 TB`."""
    return _in_units(size, 1000, _DECIMAL)


def duration_text(seconds: float) -> str:
    """Formats a duration: `12.5 s`, `3 min 20 s`, `5 h 12 min`, `41 d 3 h`."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    for position, (unit, name) in enumerate(_DURATIONS):
        if seconds >= unit:
            smaller, smaller_name = (*_DURATIONS, (1.0, "s"))[position + 1]
            rest = int(seconds % unit // smaller)
            return f"{int(seconds // unit):,} {name}" + (f" {rest} {smaller_name}" if rest else "")
    raise AssertionError("a minute or more has a unit")


def age_text(moment: float | None) -> str:
    """Formats how long ago a moment was, in its largest unit: `3 h`; `-` if the moment is unknown."""
    if moment is None or moment == float("inf"):
        return "-"
    seconds = max(0.0, time.time() - moment)
    unit, name = next(((unit, name) for unit, name in _DURATIONS if seconds >= unit), (1.0, "s"))
    return f"{seconds // unit:.0f} {name}"


def _in_units(size: float, base: int, names: tuple[str, ...]) -> str:
    for name in names[:-1]:
        if size < base * 0.99995:
            return f"{size:.1f} {name}" if name != names[0] else f"{size:.0f} {name}"
        size /= base
    return f"{size:,.1f} {names[-1]}"
