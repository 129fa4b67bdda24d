"""Flows that end at once: Prefect has each of them wait for the thread of its heartbeats, which sleeps a second.

A distillation is six flows one in another, so this is three seconds of it. Flows in `async def` do not wait: the
parameter that says so is Prefect's own.
"""

import inspect
from contextlib import AbstractContextManager
from typing import Any

import prefect.flow_engine

_NAME = "_send_heartbeats"
_OPTION = "join_on_exit"


def end_without_waiting() -> bool:
    """Makes flows of this process end without waiting for their heartbeats' threads, which are daemons.

    Returns whether they do: another version of Prefect may have no such option.
    """
    beats = getattr(prefect.flow_engine, _NAME, None)
    if beats is None or _OPTION not in inspect.signature(beats).parameters:
        return False

    def send_heartbeats(engine: Any, *_: object, **__: object) -> AbstractContextManager[None]:
        sent: AbstractContextManager[None] = beats(engine, **{_OPTION: False})
        return sent

    setattr(prefect.flow_engine, _NAME, send_heartbeats)
    return True
