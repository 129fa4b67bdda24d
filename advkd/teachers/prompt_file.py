"""The prompts that a user gives: a text file in UTF-8, on disk or at a URI, with one prompt on each line."""

from advkd.files import refuse_credentials
from advkd.teachers.errors import TeacherError
from storage.errors import StoreError
from storage.objects import read_bytes

LONGEST = 2000
MOST = 100_000


def read_prompts(place: str) -> tuple[str, ...]:
    """Reads and checks the prompts of a file; spaces around a line do not count.

    Raises:
        TeacherError: there is no such file, it is empty, or a line is empty, double, too long or no plain text.
        ValueError: the URI holds credentials.
    """
    refuse_credentials(place)
    try:
        text = read_bytes(place).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TeacherError(
            f"prompts must be text in UTF-8, got other bytes in {place}; save the file as UTF-8"
        ) from error
    except (StoreError, OSError) as error:
        raise TeacherError(
            f"prompts must be in a file that can be read, got {type(error).__name__} for {place}; check its path"
        ) from error
    lines = [line.strip() for line in text.replace("\r\n", "\n").removesuffix("\n").split("\n")]
    if not any(lines):
        raise TeacherError(f"a file of prompts must hold at least one, got none in {place}; write one on each line")
    if len(lines) > MOST:
        raise TeacherError(f"a file may hold {MOST:,} prompts, got {len(lines):,} in {place}; take fewer")
    first: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if wrong := _wrong(line, first):
            raise TeacherError(f"{wrong}, got line {number} of {place}: {line[:60]!r}; correct that line")
        first[line] = number
    return tuple(lines)


def _wrong(line: str, first: dict[str, int]) -> str:
    if not line:
        return "each line must be a prompt (the empty one is guidance's)"
    if line in first:
        return f"each prompt must be there once (it is on line {first[line]})"
    if len(line) > LONGEST:
        return f"a prompt may have {LONGEST} characters, not {len(line)}"
    if any(ord(character) < 32 or ord(character) == 127 for character in line):
        return "a prompt must be plain text without control characters"
    return ""
