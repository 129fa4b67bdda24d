"""The errors of trajectory stores, one class per remedy.

Each class also inherits the builtin family that a caller would expect, so `except PermissionError` works.
Messages state the rule, then the fact, then the remedy, and never hold credentials.
"""


class StoreError(Exception):
    """Base of everything that `storage` raises on purpose."""


class ShardCorruptError(StoreError):
    """An object of a shard is missing, short or changed; nothing of it was yielded."""


class ManifestError(StoreError):
    """A manifest, commit record or `spec.json` is malformed, foreign or newer than this package."""


class UnknownLayoutError(ManifestError, ValueError):
    """A store or a spec names a layout that nothing installed here provides."""


class FolderDamagedError(StoreError):
    """A file of a published folder is missing, or differs from its record."""


class SpecMismatchError(StoreError, ValueError):
    """The folder holds the trajectories of another spec."""


class GridMismatchError(StoreError, ValueError):
    """The requested timesteps are not a subset of the captured ones."""


class NonFiniteError(StoreError, ValueError):
    """A state holds NaN or infinity, or overflows the stored dtype."""


class ValueRangeError(StoreError, ValueError):
    """A state holds a value outside of the range that was declared for storing it as uint8."""


class StoreNotFoundError(StoreError, FileNotFoundError):
    """No store, object or bucket at this address."""


class StoreIncompleteError(StoreError):
    """The store is still growing: shards are missing, or the manifest is not written yet."""


class StoreUnreachableError(StoreError, ConnectionError):
    """The endpoint did not answer, or kept answering with server errors."""


class StorePermissionError(StoreError, PermissionError):
    """The address exists but may not be read or written with these rights."""


class StoreFullError(StoreError, OSError):
    """No space is left where the store is written."""
