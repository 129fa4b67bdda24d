"""Pictures in zips and tars, on disk or in an object store: found by the index or the headers, read one by one."""

import tarfile
import weakref
import zipfile
import zlib
from collections.abc import Iterator, Sequence

from advkd.files import opened
from advkd.images.errors import ImageSetError
from advkd.images.pictures import CORRUPT, HUGE, MOST_BYTES, TRUNCATED, BadPictureError
from advkd.images.sources import Entry, is_picture, stamp
from storage.objects import ObjectInfo, read_range


class ZipSource:
    """Pictures in one or several zips. Those of several have the archive's name before theirs."""

    parallel = False

    def __init__(self, archives: Sequence[tuple[str, str, ObjectInfo]]) -> None:
        """Takes prefix of the keys, URI and listed facts of each archive."""
        self.stamp = stamp([uri for _, uri, _ in archives], [info for _, _, info in archives])
        self._zips: list[zipfile.ZipFile] = []
        members = []
        for prefix, uri, _ in archives:
            archive = _zip(uri)
            self._zips.append(archive)
            for info in archive.infolist():
                if is_picture(info.filename):
                    if info.flag_bits & 1:
                        raise ImageSetError(
                            f"pictures in a zip must not be encrypted, got {info.filename} in {uri}; unpack it"
                        )
                    members.append((prefix + info.filename, len(self._zips) - 1, info))
        members.sort(key=lambda member: member[:2])
        self._members = [(archive, info) for _, archive, info in members]
        self.entries: Sequence[Entry] = [Entry(key=key, size=info.file_size) for key, _, info in members]

    def read(self, number: int) -> bytes:
        """Reads a picture; never more than its index says."""
        archive, info = self._members[number]
        if info.file_size > MOST_BYTES:
            raise BadPictureError(HUGE)
        try:
            return self._zips[archive].read(info)
        except EOFError as error:
            raise BadPictureError(TRUNCATED) from error
        except (zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
            raise BadPictureError(CORRUPT) from error


class TarSource:
    """Pictures in one or several tars, as webdatasets have them. Those of several have the tar's name before theirs."""

    parallel = True

    def __init__(self, archives: Sequence[tuple[str, str, ObjectInfo]]) -> None:
        """Takes prefix of the keys, URI and listed facts of each tar."""
        self.stamp = stamp([uri for _, uri, _ in archives], [info for _, _, info in archives])
        self._uris = [uri for _, uri, _ in archives]
        members = []
        for number, (prefix, uri, _) in enumerate(archives):
            members += [(prefix + name, number, start, size) for name, start, size in _members(uri)]
        members.sort(key=lambda member: member[:3])
        self._places = [member[1:] for member in members]
        self.entries: Sequence[Entry] = [Entry(key=key, size=size) for key, _, _, size in members]

    def read(self, number: int) -> bytes:
        """Reads a picture."""
        archive, start, size = self._places[number]
        if size > MOST_BYTES:
            raise BadPictureError(HUGE)
        data = read_range(self._uris[archive], start, start + size)
        if len(data) < size:
            raise BadPictureError(TRUNCATED)
        return data


def _zip(uri: str) -> zipfile.ZipFile:
    file = opened(uri)
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        file.close()
        raise ImageSetError(f"a zip of pictures must be a whole zip, got {error} in {uri}; copy it again") from error
    # A zip does not close a file that it was given.
    weakref.finalize(archive, file.close)
    return archive


def _members(uri: str) -> Iterator[tuple[str, int, int]]:
    """Yields name, start and size of the pictures in a tar, from its headers."""
    with opened(uri) as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                while (member := archive.next()) is not None:
                    # Otherwise the tar keeps all headers.
                    archive.members.clear()  # type: ignore[attr-defined]
                    if member.isreg() and is_picture(member.name):
                        yield member.name, member.offset_data, member.size
        except tarfile.TarError as error:
            raise ImageSetError(
                f"a tar of pictures must be a whole tar without compression, got {error} in {uri}; "
                "decompress it, or copy it again"
            ) from error
