"""The one table of layouts. A new one implements `base.Layout` and adds a line here and its name to `spec.LAYOUTS`."""

from storage.base import Layout
from storage.spec import TrajectorySpec
from storage.webdataset_store import WebDatasetLayout
from storage.zarr_store import ZarrLayout

_LAYOUTS: dict[str, Layout] = {"zarr": ZarrLayout(), "webdataset": WebDatasetLayout()}


def layout_of(spec: TrajectorySpec) -> Layout:
    """The layout that a spec names."""
    return _LAYOUTS[spec.layout]
