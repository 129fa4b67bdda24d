"""The table of layouts. A new one implements `protocols.Layout`, and adds a row here, or an entry point."""

from storage.errors import UnknownLayoutError
from storage.layouts.protocols import Layout
from storage.layouts.webdataset import WebDatasetLayout
from storage.layouts.zarr import ZarrLayout
from storage.records import TrajectorySpec
from storage.tables import Table

LAYOUTS: Table[Layout] = Table("advkd.layouts", "a layout", {"zarr": ZarrLayout(), "webdataset": WebDatasetLayout()})


def layout_of(spec: TrajectorySpec) -> Layout:
    """Returns the layout that a spec names; raises `UnknownLayoutError` if no installed package provides it."""
    try:
        return LAYOUTS[spec.layout]
    except KeyError as error:
        raise UnknownLayoutError(
            f"a store needs a layout that is installed, one of {sorted(LAYOUTS)}, got {spec.layout!r}; use one of "
            f"them, or install the package that adds it (entry point group {LAYOUTS.group})"
        ) from error
