"""Finds new teachers in folders, object stores and on the hub, and remembers those that were seen."""

from advkd.discovery.looking import LookSpec, PlaceState, Skipped, look
from advkd.discovery.seen import Memory

__all__ = [
    "LookSpec",
    "Memory",
    "PlaceState",
    "Skipped",
    "look",
]
