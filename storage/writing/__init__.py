"""Writes a store: shards, claims on shards, and the seal."""

from storage.writing.claims import CLAIM_ENDING, CLAIMS, claim_uri, folder_claim
from storage.writing.sealing import Sealing, is_sealed, missing_shards, open_writer, reseal, seal, seal_once

__all__ = [
    "CLAIMS",
    "CLAIM_ENDING",
    "Sealing",
    "claim_uri",
    "folder_claim",
    "is_sealed",
    "missing_shards",
    "open_writer",
    "reseal",
    "seal",
    "seal_once",
]
