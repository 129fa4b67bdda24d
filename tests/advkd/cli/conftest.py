from tests.storage.conftest import spec

__all__ = ["spec"]
