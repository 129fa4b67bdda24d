"""How shards become objects and back: Zarr and WebDataset, one table."""

from storage.layouts.protocols import Buffer, Checksums, Place, Reader, States, Writer
from storage.layouts.table import layout_of

__all__ = [
    "Buffer",
    "Checksums",
    "Place",
    "Reader",
    "States",
    "Writer",
    "layout_of",
]
