"""Maintains stores: lists, verifies, repairs, converts and removes them, and removes their garbage."""

from storage.care.companions import decoder_uri, embeddings_uri, is_kept
from storage.care.conversion import convert
from storage.care.garbage import Garbage, StoreGarbage, find_garbage, remove_garbage
from storage.care.growth import Growth, measure_growth
from storage.care.keys import Role, StoreKeys
from storage.care.listing import StoreSummary, list_stores, store_uris, summarize
from storage.care.mending import keep_commit, mend, read_good_commit
from storage.care.removal import StoreContents, remove_store, store_contents
from storage.care.verification import shard_problems, verify

__all__ = [
    "Garbage",
    "Growth",
    "Role",
    "StoreContents",
    "StoreGarbage",
    "StoreKeys",
    "StoreSummary",
    "convert",
    "decoder_uri",
    "embeddings_uri",
    "find_garbage",
    "is_kept",
    "keep_commit",
    "list_stores",
    "measure_growth",
    "mend",
    "read_good_commit",
    "remove_garbage",
    "remove_store",
    "shard_problems",
    "store_contents",
    "store_uris",
    "summarize",
    "verify",
]
