"""One's own extractor in Python: `package.module:factory`, where `factory(asked)` returns an `Extractor`."""

import importlib
import re

from advkd.features.base import Asked, Extractor
from advkd.features.errors import FeatureError

_FACTORY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_MEMBERS = ("name", "sha256", "dims", "rule", "accepts", "__call__")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_factory(name: str) -> bool:
    """Returns whether a name is written as `package.module:factory`."""
    return bool(_FACTORY.fullmatch(name))


def made_extractor(place: str, asked: Asked) -> Extractor:
    """Imports the module, calls the factory, and checks what it returns.

    Raises:
        FeatureError: there is no such module or factory, or what it returns is no extractor.
    """
    module, _, name = place.partition(":")
    try:
        factory = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise FeatureError(
            f"an extractor in Python must be an importable package.module:factory, got {place!r} ({error}); install "
            "its package beside advkd, or correct the name"
        ) from error
    if not callable(factory):
        raise FeatureError(
            f"an extractor's factory must be called with advkd.features.Asked, got a {type(factory).__name__} at "
            f"{place}; name a function"
        )
    extractor = factory(asked)
    missing = [member for member in _MEMBERS if not hasattr(extractor, member)]
    if missing:
        raise FeatureError(
            f"an extractor must have {', '.join(_MEMBERS)} (advkd.features.Extractor), got a "
            f"{type(extractor).__name__} without {', '.join(missing)} from {place}; add them"
        )
    if not _SHA256.fullmatch(str(extractor.sha256)):
        raise FeatureError(
            f"an extractor's sha256 must be 64 hex digits, got {extractor.sha256!r} from {place}; take it over its "
            "weights and whatever else its features depend on"
        )
    return extractor  # type: ignore[no-any-return]
