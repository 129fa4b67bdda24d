"""Pictures in the Parquet files of a hub data set, as `datasets` writes them: a column `image` of `{bytes, path}`.

pyarrow is an extra (`pip install 'advkd[parquet]'`).
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from advkd.files import opened
from advkd.images.errors import ImageSetError
from advkd.images.pictures import EMPTY, BadPictureError
from advkd.images.sources import Entry, stamp
from storage.objects import ObjectInfo

COLUMNS = ("image", "img", "jpg", "png", "webp")
"""Names that data sets give to their pictures; the first of them that a file has is taken."""
ROWS = 64
"""Rows that are held at once."""


class ParquetSource:
    """Pictures in one or several Parquet files: in the order of the files' names and of their rows."""

    parallel = False

    def __init__(self, files: Sequence[tuple[str, str, ObjectInfo]]) -> None:
        """Takes prefix of the keys, URI and listed facts of each file."""
        self.stamp = stamp([uri for _, uri, _ in files], [info for _, _, info in files])
        self._uris = [uri for _, uri, _ in files]
        self._rows: Iterator[tuple[int, Any]] = iter(())
        self._next: tuple[int, int] | None = None
        entries: list[Entry] = []
        self._places: list[tuple[int, int]] = []
        for number, (prefix, uri, _) in enumerate(files):
            with _Parquet(uri) as file:
                self._places += [(number, row) for row in range(file.rows)]
                entries += [Entry(key=f"{prefix}{row:09d}", size=None) for row in range(file.rows)]
        self.entries: Sequence[Entry] = entries

    def read(self, number: int) -> bytes:
        """Reads a picture; cheap for the row after the one before."""
        file, row = self._places[number]
        if self._next != (file, row):
            self._rows = _rows(self._uris[file], row)
        self._next = file, row + 1
        value = next(self._rows)[1]
        data = value.get("bytes") if isinstance(value, dict) else value
        if not data:
            # A row without a picture, or one that only names a file of the machine that wrote it.
            raise BadPictureError(EMPTY)
        return bytes(data)


class _Parquet:
    """An open file and its column of pictures."""

    def __init__(self, uri: str) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise ImageSetError(
                "pictures in Parquet files need pyarrow, which is not installed; pip install 'advkd[parquet]', or give "
                "a folder of pictures"
            ) from error
        self._opened = opened(uri)
        try:
            self.file = parquet.ParquetFile(self._opened, pre_buffer=False)
        except (pyarrow.ArrowException, OSError) as error:
            self._opened.close()
            raise ImageSetError(
                f"a Parquet file of pictures must be whole, got {str(error).splitlines()[0]} in {uri}; copy it again"
            ) from error
        schema = self.file.schema_arrow
        self.column = next((name for name in COLUMNS if name in schema.names), "")
        kind = schema.field(self.column).type if self.column else None
        plain = kind is not None and (pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))
        if not (plain or (kind is not None and pyarrow.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)):
            self._opened.close()
            raise ImageSetError(
                f"a Parquet file of pictures has a column {' or '.join(COLUMNS)} of bytes, or of {{bytes, path}}, got "
                f"{', '.join(f'{field.name}: {field.type}' for field in schema)} in {uri}; rename the column"
            )
        self.rows = int(self.file.metadata.num_rows)

    def __enter__(self) -> "_Parquet":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self._opened.close()


def _rows(uri: str, start: int) -> Iterator[tuple[int, Any]]:
    """Yields number and value of the rows from `start` on; leaves out the row groups before."""
    with _Parquet(uri) as parquet:
        groups = range(parquet.file.num_row_groups)
        starts = [0, *itertools.accumulate(parquet.file.metadata.row_group(group).num_rows for group in groups)]
        first = max(group for group in groups if starts[group] <= start)
        row = starts[first]
        batches = parquet.file.iter_batches(ROWS, list(groups)[first:], columns=[parquet.column])
        for batch in batches:
            for number in range(max(0, start - row), len(batch)):
                yield row + number, batch.column(0)[number].as_py()
            row += len(batch)
