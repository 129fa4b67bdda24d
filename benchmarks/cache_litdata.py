"""litdata on the same samples: `optimize` once, then its streaming dataset and loader.

Not a dependency of ours; `make bench-cache` installs it beside the packages of `.venv`, without the torchvision that it
asks for and does not need here.
"""

import os
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.cache_data import BATCH, TIMESTEPS
from benchmarks.measure import megabytes_per_second


def optimize(files: list[str], output: str, samples: int, chunk_samples: int) -> None:
    """Writes all samples in chunks of as many samples as our shards have."""
    folder = Path(output)
    # Read when litdata is imported: its working files belong to what is removed in the end.
    os.environ["LITDATA_CACHE_DIR"] = str(folder / "cache")
    os.environ["DATA_OPTIMIZER_CACHE_FOLDER"] = str(folder / "work")
    os.environ["DATA_OPTIMIZER_DATA_CACHE_FOLDER"] = str(folder / "data")
    import litdata

    litdata.optimize(
        fn=partial(sample_of, tuple(files)),
        inputs=list(range(samples)),
        output_dir=str(folder / "chunks"),
        chunk_size=chunk_samples,
        num_workers=1,
        verbose=False,
    )


def sample_of(files: tuple[str, ...], index: int) -> dict[str, Any]:
    """One sample: its number and its states."""
    arrays = _mapped(files)
    states = {f"t{t:04d}": np.array(array[index]) for t, array in zip(TIMESTEPS, arrays, strict=True)}
    return {"index": index, **states}


@cache
def _mapped(files: tuple[str, ...]) -> list[npt.NDArray[Any]]:
    return [np.load(file, mmap_mode="r") for file in files]


def litdata_speed(folder: str) -> float:
    """MB/s of a second epoch of shuffled batches."""
    batches = _batches(folder)

    def read() -> int:
        return sum(value.nbytes for batch in batches for name, value in batch.items() if name != "index")

    read()
    return megabytes_per_second(read)


def litdata_order(folder: str, seed: int) -> list[int]:
    """The sample numbers of one epoch."""
    return [int(index) for batch in _batches(folder, seed) for index in batch["index"]]


def _batches(folder: str, seed: int = 0) -> Any:
    os.environ["LITDATA_CACHE_DIR"] = str(Path(folder) / "cache")
    import litdata

    dataset = litdata.StreamingDataset(str(Path(folder) / "chunks"), shuffle=True, seed=seed)
    return litdata.StreamingDataLoader(dataset, batch_size=BATCH, num_workers=0)
