"""Tests; a package, so that `tests/storage` cannot shadow `storage` on the import path."""
