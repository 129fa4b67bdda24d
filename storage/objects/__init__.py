"""Objects at URIs, on disk and in S3: read, write, list and delete them, all or nothing."""

from storage.objects.access import (
    Leftover,
    ObjectInfo,
    create_bytes,
    delete,
    exists,
    join,
    list_folders,
    list_leftovers,
    list_level,
    list_objects,
    list_prefix,
    local_folder,
    read_bytes,
    read_into,
    read_json,
    read_range,
    remove_leftover,
    write_bytes,
    write_json,
)
from storage.objects.local import TEMPORARY_PREFIX, LocalObjects
from storage.objects.owners import user_name, whose
from storage.objects.s3 import PATIENCE, S3Objects
from storage.objects.s3_probe import probe_s3
from storage.objects.scatter import byte_parts, fill

__all__ = [
    "PATIENCE",
    "TEMPORARY_PREFIX",
    "Leftover",
    "LocalObjects",
    "ObjectInfo",
    "S3Objects",
    "byte_parts",
    "create_bytes",
    "delete",
    "exists",
    "fill",
    "join",
    "list_folders",
    "list_leftovers",
    "list_level",
    "list_objects",
    "list_prefix",
    "local_folder",
    "probe_s3",
    "read_bytes",
    "read_into",
    "read_json",
    "read_range",
    "remove_leftover",
    "user_name",
    "whose",
    "write_bytes",
    "write_json",
]
