"""The one table of layouts. A new one implements `base.Layout` and adds a line here and its name to `spec.LAYOUTS`."""

from storage.layouts.protocols import Layout
from storage.layouts.webdataset import WebDatasetLayout
from storage.layouts.zarr import ZarrLayout
from storage.records import TrajectorySpec

_LAYOUTS: dict[str, Layout] = {"zarr": ZarrLayout(), "webdataset": WebDatasetLayout()}


def layout_of(spec: TrajectorySpec) -> Layout:
    """The layout that a spec names."""
    return _LAYOUTS[spec.layout]
