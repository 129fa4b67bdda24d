"""Layouts, which convert shards to objects and back: Zarr, WebDataset, and the table of layouts."""

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
