"""Local files: folders that appear whole, checked downloads, hashes, dataclasses as JSON."""

from advkd.files.download import FolderKind, download_folder, listing_stamp
from advkd.files.folders import own_folder, remove_folder, whole_folder
from advkd.files.hashing import file_sha256, files_sha256
from advkd.files.records import record_from_json

__all__ = [
    "FolderKind",
    "download_folder",
    "file_sha256",
    "files_sha256",
    "listing_stamp",
    "own_folder",
    "record_from_json",
    "remove_folder",
    "whole_folder",
]
