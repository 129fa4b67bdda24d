"""One's own extractor in Python: `package.module:factory`, where `factory(asked)` returns an `Extractor`."""

import re

from advkd.features.base import Asked, Extractor
from advkd.features.errors import FeatureError
from advkd.runtime import imported, missing_members

_MEMBERS = ("name", "sha256", "dims", "rule", "accepts", "__call__")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def made_extractor(place: str, asked: Asked) -> Extractor:
    """Imports the module, calls the factory, and checks what it returns.

    Raises:
        FeatureError: there is no such module or factory, or what it returns is no extractor.
    """
    try:
        factory = imported(place)
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
    missing = missing_members(extractor, _MEMBERS)
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
