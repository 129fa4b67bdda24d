"""Writes a store: shards, claims on shards, and the seal."""

from storage.writing.claims import CLAIMS, claim_uri, folder_claim, is_folder_claim
from storage.writing.orphans import give_back, orphaned_claims
from storage.writing.sealing import Sealing, is_sealed, missing_shards, open_writer, reseal, seal, seal_once

__all__ = [
    "CLAIMS",
    "Sealing",
    "claim_uri",
    "folder_claim",
    "give_back",
    "is_folder_claim",
    "is_sealed",
    "missing_shards",
    "open_writer",
    "orphaned_claims",
    "reseal",
    "seal",
    "seal_once",
]
