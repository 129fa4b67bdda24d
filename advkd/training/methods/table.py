"""The one table of methods: which class trains by which spec."""

from advkd.training.distributed import ALONE, Processes
from advkd.training.methods.layerwise_spec import TrainSpec
from advkd.training.methods.paper_spec import PaperSpec
from advkd.training.methods.protocol import Method
from advkd.training.run_spec import RunSpec
from storage import TrajectorySpec


def build_method(spec: RunSpec, store: TrajectorySpec, processes: Processes = ALONE) -> Method:
    """The method that a spec describes, at its beginning: the weights depend on the seed alone.

    Raises:
        ValueError: the spec does not fit the store's shape, grid or sampler, or the number of processes.
    """
    from advkd.training.methods.layerwise import LayerwiseMethod
    from advkd.training.methods.paper import PaperMethod

    rows = processes.share(spec.batch_size)
    if (rows.stop - rows.start) % spec.accumulate:
        raise ValueError(
            f"accumulate must divide each process's share of a batch ({rows.stop - rows.start} of {spec.batch_size}), "
            f"got {spec.accumulate}; choose a divisor"
        )
    if isinstance(spec, TrainSpec):
        return LayerwiseMethod(spec, store, processes)
    if isinstance(spec, PaperSpec):
        return PaperMethod(spec, store, processes)
    raise TypeError(f"a run's spec must be a TrainSpec or a PaperSpec, got a {type(spec).__name__}; build one")
