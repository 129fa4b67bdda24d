"""Publishes folders of plain files at URIs of an object store, all or nothing."""

from storage.folders.contents import CONTENTS, UNFINISHED, FileFacts, FolderContents, read_contents
from storage.folders.fetching import fetch_file, fetch_folder, read_file
from storage.folders.publishing import (
    clear_unfinished,
    probe_folder,
    publish_folder,
    remove_published,
    unfinished_below,
    unfinished_files,
)

__all__ = [
    "CONTENTS",
    "UNFINISHED",
    "FileFacts",
    "FolderContents",
    "clear_unfinished",
    "fetch_file",
    "fetch_folder",
    "probe_folder",
    "publish_folder",
    "read_contents",
    "read_file",
    "remove_published",
    "unfinished_below",
    "unfinished_files",
]
