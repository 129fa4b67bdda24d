"""The teacher in Python of docs/teachers.md, as a package that can be imported."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[3] / "docs" / "teachers.md"


def documented_example() -> str:
    """Returns its code."""
    (example,) = re.findall(r"```python\n(import hashlib.*?)```", DOCS.read_text(encoding="utf-8"), re.S)
    return str(example)


def documented_teacher(site: Path) -> str:
    """Writes it as `my_package.teacher` into a folder of packages; returns its source."""
    (site / "my_package").mkdir(parents=True, exist_ok=True)
    (site / "my_package" / "teacher.py").write_text(documented_example(), encoding="utf-8")
    return "my_package.teacher:small"
