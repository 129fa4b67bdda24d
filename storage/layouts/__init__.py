"""How shards become objects and back: Zarr and WebDataset, one table."""

from storage.layouts.protocols import Buffer, Extent, Layout, Place, Reader, States, Writer
from storage.layouts.table import LAYOUTS, layout_of

__all__ = [
    "LAYOUTS",
    "Buffer",
    "Extent",
    "Layout",
    "Place",
    "Reader",
    "States",
    "Writer",
    "layout_of",
]
