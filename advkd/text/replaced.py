"""What a solver does otherwise than its teacher's own scheduler, in words."""

import json
from collections.abc import Mapping
from typing import Any


def replaced_text(sampler_config: Mapping[str, Any]) -> str:
    """Returns in words the entry `replaced` of a solver's config, setting -> [the teacher's, the used]; "" if none."""
    pairs = sampler_config.get("replaced", {}).items()
    return ", ".join(f"{name} {_word(used)} instead of the teacher's {_word(own)}" for name, (own, used) in pairs)


def _word(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)
