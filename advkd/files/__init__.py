"""Files: folders that appear whole on disk and in object stores, checked downloads, hashes, dataclasses as JSON."""

from advkd.files.arrays import Array, Arrays, content_digest, pack_arrays, read_arrays, write_arrays
from advkd.files.download import FolderKind, download_folder, listing_stamp
from advkd.files.folders import own_folder, remove_folder, whole_folder
from advkd.files.hashing import file_sha256, files_sha256
from advkd.files.places import is_remote, refuse_credentials
from advkd.files.published import publish, read_published, workplace
from advkd.files.ranges import object_info, opened
from advkd.files.records import record_from_json
from advkd.files.scratch import scratch_folder
from advkd.files.telling import told

__all__ = [
    "Array",
    "Arrays",
    "FolderKind",
    "content_digest",
    "download_folder",
    "file_sha256",
    "files_sha256",
    "is_remote",
    "listing_stamp",
    "object_info",
    "opened",
    "own_folder",
    "pack_arrays",
    "publish",
    "read_arrays",
    "read_published",
    "record_from_json",
    "refuse_credentials",
    "remove_folder",
    "scratch_folder",
    "told",
    "whole_folder",
    "workplace",
    "write_arrays",
]
