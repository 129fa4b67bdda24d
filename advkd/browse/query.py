"""Parses parts of a URL; refuses bad ones with a message that states rule, fact and remedy."""

from starlette.requests import Request

from advkd.browse.errors import NotShownError, RequestError

_LONGEST_NUMBER = 15


def whole(text: str) -> int | None:
    """Parses up to 15 plain digits; returns None for any other text."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER else None


def integer(request: Request, name: str, default: int, low: int, high: int) -> int:
    """Returns an integer of the query within bounds; the default if it is missing."""
    text = request.query_params.get(name, "")
    value = default if text == "" else whole(text)
    if value is None or (text and not low <= value <= high):
        raise RequestError(f"{name} must be a whole number from {low} to {high}, got {text[:20]!r}; choose one of them")
    return value


def choice(request: Request, name: str, allowed: tuple[str, ...]) -> str:
    """Returns a word of the query among those allowed; the first one if it is missing."""
    word = request.query_params.get(name, "") or allowed[0]
    if word not in allowed:
        raise RequestError(f"{name} must be one of {', '.join(allowed)}, got {word[:20]!r}; choose one of them")
    return word


def timestep(request: Request, allowed: tuple[int, ...]) -> int:
    """Returns a captured timestep of the query; the last one (the clean state) if it is missing."""
    text = request.query_params.get("t", "")
    if text == "":
        return allowed[-1]
    value = whole(text)
    if value is None or value not in allowed:
        raise RequestError(f"t must be one of the timesteps {list(allowed)}, got {text[:20]!r}; choose one of them")
    return value


def sample(text: str, num_samples: int) -> int:
    """Parses the number of a sample; raises `NotShownError` if the store does not show it."""
    value = whole(text)
    if value is None or value >= num_samples:
        what = f"samples 0 to {num_samples - 1}" if num_samples else "no samples yet"
        raise NotShownError(f"this store shows {what}, got {text[:20]!r}; choose one of them")
    return value
