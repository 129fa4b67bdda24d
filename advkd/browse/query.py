"""Parts of a URL, checked: what is not of its form is refused with a rule, a fact and a remedy."""

from starlette.requests import Request

from advkd.browse.errors import NotShownError, RequestError

_LONGEST_NUMBER = 15


def whole(text: str) -> int | None:
    """What plain digits say, up to 15 of them; None for any other text."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER else None


def integer(request: Request, name: str, default: int, low: int, high: int) -> int:
    """A whole number of the query within bounds; the default where it is not given."""
    text = request.query_params.get(name, "")
    return default if text == "" else number(name, text, low, high)


def number(name: str, text: str, low: int, high: int) -> int:
    """A whole number within bounds."""
    value = whole(text)
    if value is None or not low <= value <= high:
        raise RequestError(f"{name} must be a whole number from {low} to {high}, got {text[:20]!r}; choose one of them")
    return value


def choice(request: Request, name: str, allowed: tuple[str, ...]) -> str:
    """One of the words allowed; the first where none is given."""
    word = request.query_params.get(name, "") or allowed[0]
    if word not in allowed:
        raise RequestError(f"{name} must be one of {allowed}, got {word[:20]!r}; choose one of them")
    return word


def timestep(request: Request, allowed: tuple[int, ...]) -> int:
    """A timestep that was captured; the last (the clean state) where none is given."""
    text = request.query_params.get("t", "")
    if text == "":
        return allowed[-1]
    value = whole(text)
    if value is None or value not in allowed:
        raise RequestError(f"t must be one of the timesteps {list(allowed)}, got {text[:20]!r}; choose one of them")
    return value


def sample(text: str, num_samples: int) -> int:
    """The number of a sample that a store shows; `NotShownError` where it does not."""
    value = whole(text)
    if value is None or value >= num_samples:
        what = f"samples 0 to {num_samples - 1}" if num_samples else "no samples yet"
        raise NotShownError(f"this store shows {what}, got {text[:20]!r}; choose one of them")
    return value
