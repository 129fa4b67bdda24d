"""litdata on the same samples: `optimize` once, then its streaming dataset and loader. Not a dependency of ours."""

import os
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.cache_data import BATCH, TIMESTEPS

MISSING = "litdata is compared with, but is not installed; run `make bench-cache`, which installs it beside .venv"


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


class LitdataEpochs:
    """Epochs of shuffled batches of 64 in this process."""

    def __init__(self, folder: str) -> None:
        os.environ["LITDATA_CACHE_DIR"] = str(Path(folder) / "cache")
        import litdata

        dataset = litdata.StreamingDataset(str(Path(folder) / "chunks"), shuffle=True, seed=0)
        self._loader = litdata.StreamingDataLoader(dataset, batch_size=BATCH, num_workers=0)

    def read(self) -> int:
        """One epoch; the bytes of its states."""
        return sum(value.nbytes for batch in self._loader for name, value in batch.items() if name != "index")

    def order(self) -> list[int]:
        """One epoch's sample numbers."""
        return [int(index) for batch in self._loader for index in batch["index"]]
