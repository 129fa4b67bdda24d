"""Reads a sealed or growing store: shards, samples, and shuffled batches for training."""

from storage.reading.cache_folder import default_cache_folder
from storage.reading.caches import CACHES
from storage.reading.growing import CommittedShards, open_growing
from storage.reading.loader import Batch, TrajectoryLoader
from storage.reading.open import noise_problem, open_manifest
from storage.reading.reader import open_store
from storage.reading.sources import DirectSource

__all__ = [
    "CACHES",
    "Batch",
    "CommittedShards",
    "DirectSource",
    "TrajectoryLoader",
    "default_cache_folder",
    "noise_problem",
    "open_growing",
    "open_manifest",
    "open_store",
]
