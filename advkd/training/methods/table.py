"""The one table of methods: which spec describes a run of each, and which class trains it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from advkd.training.distributed import ALONE, Processes
from advkd.training.methods.layerwise import LayerwiseMethod
from advkd.training.methods.layerwise_spec import TrainSpec
from advkd.training.methods.paper import PaperMethod
from advkd.training.methods.paper_spec import PaperSpec
from advkd.training.methods.protocol import Method
from advkd.training.mirroring import check_mirrored
from advkd.training.run_spec import RunSpec
from storage import TrajectorySpec
from storage.tables import Table


@dataclass(frozen=True)
class MethodRow:
    """A method of training.

    Attributes:
        spec: a frozen dataclass below `RunSpec`; its `method: Literal[<name of the row>]` has that name as its default.
        build: from such a spec, the store's facts and the processes to the method at its beginning, as the class does.
    """

    spec: type[RunSpec]
    build: Callable[[Any, TrajectorySpec, Processes], Method]


METHODS: Table[MethodRow] = Table(
    "advkd.methods",
    "a method of training",
    {"layerwise": MethodRow(TrainSpec, LayerwiseMethod), "paper": MethodRow(PaperSpec, PaperMethod)},
)


def build_method(spec: RunSpec, store: TrajectorySpec, processes: Processes = ALONE) -> Method:
    """The method that a spec describes, at its beginning: the weights depend on the seed alone.

    Raises:
        ValueError: the spec does not fit the store's shape, space, grid or sampler, or the number of processes.
    """
    row = METHODS.choose(spec.method, f"{type(spec).__name__}.method")
    if not isinstance(spec, row.spec):
        raise TypeError(
            f"a run of method {spec.method!r} must have a {row.spec.__name__}, got a {type(spec).__name__}; build one"
        )
    check_mirrored(spec, store)
    rows = processes.share(spec.batch_size)
    if (rows.stop - rows.start) % spec.accumulate:
        raise ValueError(
            f"accumulate must divide each process's share of a batch ({rows.stop - rows.start} of {spec.batch_size}), "
            f"got {spec.accumulate}; choose a divisor"
        )
    return row.build(spec, store, processes)
