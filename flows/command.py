"""Runs a flow as a command: `python -m flows.<name>`, with the flow's parameters as options and a quiet terminal.

Exit codes: 0 done, 1 failed, 2 bad parameters, 130 interrupted. Progress goes to stderr, the result to stdout.
"""

import argparse
import inspect
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import prefect
from prefect import Flow
from prefect.events.worker import EventsWorker
from prefect.exceptions import ParameterTypeError, PrefectHTTPStatusError
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from rich.text import Text

from advkd.files import workplace
from advkd.runtime import console
from flows.processes import (
    BESIDE_A_BAR,
    defaults,
    interrupt_on_hangup,
    log_place,
    own_server,
    own_this_process,
    why_no_answer,
)

_PREFECT = Path(prefect.__file__).parent
Check = Callable[..., object]
_AS_JSON = "print as json"
"""Name of `--json` among the parsed options; no parameter of a flow can have it."""


def main(
    flow: Flow[..., Any],
    *,
    check: Check | None = None,
    show: Callable[[Any], None] | None = None,
    argv: Sequence[str] | None = None,
) -> None:
    """Parses the command line, runs the flow and exits.

    Args:
        flow: the flow, whose parameters become options; dataclasses are given as JSON.
        check: called with the parameters before anything starts; raises `ValueError` for bad parameters.
        show: prints the result for people unless `--json` is given; None always prints JSON.
        argv: the command line; None means that of the process.
    """
    options = _parser(flow).parse_args(argv)
    interrupt_on_hangup()
    if argv is None:
        own_this_process()
    given = vars(options)
    as_json = given.pop(_AS_JSON)
    with _quiet():
        sys.exit(_run(flow, given, check, _show_json if as_json or show is None else show))


def _run(flow: Flow[..., Any], given: Mapping[str, Any], check: Check | None, show: Callable[[Any], None]) -> int:
    refusal = 2
    try:
        log_place()
        parameters = _parameters(flow, given)
        if check is not None:
            check(**parameters)
        # From here on, any error is a failure of the run.
        refusal = 1
        with _api(given.get("root") or "runs") as ready:
            with console().status("starting a Prefect server"):
                connected = ready()
            with connected:
                result = flow(**parameters)
    except (ParameterTypeError, ValueError) as error:
        return _complain(error, refusal)
    except PrefectHTTPStatusError as error:
        why = why_no_answer(error, PREFECT_API_URL.value())
        return _complain(f"a run needs a Prefect server that answers, but {why}", 1)
    except KeyboardInterrupt:
        return _complain("interrupted; run the same command again to go on from there", 130)
    except Exception as error:
        return _complain(error, 1)
    show(result)
    return 0


def _parser(flow: Flow[..., Any]) -> argparse.ArgumentParser:
    module = inspect.getmodule(flow.fn)
    name = Path(module.__file__).stem if module and module.__file__ else flow.name
    parser = argparse.ArgumentParser(
        prog=f"python -m flows.{name}", description=(flow.description or "").partition("Args:")[0]
    )
    parser.add_argument(
        "--json", dest=_AS_JSON, action="store_true", help="print the result as one JSON object on stdout, for machines"
    )
    hints = get_type_hints(flow.fn)
    described = flow.parameters.properties
    for parameter in inspect.signature(flow.fn).parameters.values():
        hint = hints[parameter.name]
        required = parameter.default is inspect.Parameter.empty
        default = "" if required or parameter.default is None else f" [default: {parameter.default}]"
        parser.add_argument(
            f"--{parameter.name.replace('_', '-')}",
            required=required,
            default=argparse.SUPPRESS,
            help=(described[parameter.name].get("description", "") + default).replace("%", "%%"),
            **_form(parameter.name.upper(), hint),
        )
    return parser


def _form(name: str, hint: Any) -> dict[str, Any]:
    """Returns how argparse parses a parameter of this type."""
    if hint is bool:
        return {"action": argparse.BooleanOptionalAction}
    if get_origin(hint) is list:
        return {"nargs": "+", "metavar": name}
    parts = (hint, *get_args(hint))
    kinds = " or ".join(part.__name__ for part in parts if is_dataclass(part) and isinstance(part, type))
    if kinds or any(get_origin(part) is dict for part in parts):
        return {"type": _json_object, "metavar": f"JSON of {kinds}" if kinds else "JSON"}
    return {"metavar": name}


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be JSON, got {text!r} ({error})") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f'must be a JSON object such as {{"samples": 256}}, got {text!r}')
    return value


def _parameters(flow: Flow[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Converts the given values to the flow's types, so that bad values are reported before anything starts."""
    return flow.validate_parameters({**defaults(flow), **given})


@contextmanager
def _api(root: str) -> Iterator[Callable[[], Any]]:
    """Yields a function that returns the API's context: the user's server if one is configured, else a private one.

    The private server keeps its files below a local root; for a remote root they are temporary.
    """
    if PREFECT_API_URL.value():
        yield lambda: temporary_settings()
        return
    with workplace(root) as folder, own_server(home := folder / "prefect", "--no-services", "--no-ui") as wait:
        yield lambda: _connected(wait(), home)


@contextmanager
def _connected(url: str, home: Path) -> Iterator[None]:
    with temporary_settings(updates={PREFECT_API_URL: url, PREFECT_HOME: home}):
        try:
            yield
        finally:
            # Send queued logs and events while the server still runs.
            APILogHandler().flush()
            EventsWorker.drain_all(timeout=5)


@contextmanager
def _quiet() -> Iterator[None]:
    """Prints only our own messages, on the console that the bars share; hides Prefect's and third parties' warnings."""
    root = logging.getLogger()
    kept, level = root.handlers[:], root.level
    logging.getLogger("prefect").setLevel(logging.INFO)
    root.handlers[:] = [_Narration()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.handlers[:] = kept
        root.setLevel(level)


class _Narration(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        ours = record.name.startswith(("prefect.flow_runs", "prefect.task_runs", "advkd", "storage", "flows"))
        if ours and not getattr(record, BESIDE_A_BAR, False) and _PREFECT not in Path(record.pathname).parents:
            stage = Text(f"{getattr(record, 'flow_name', ''):<11} ", style="bold")
            style = "yellow" if record.levelno >= logging.WARNING else ""
            console().print(stage + Text(record.getMessage(), style=style), soft_wrap=True)


def _complain(error: object, code: int) -> int:
    console().print(f"error: {error}" if code != 130 else str(error), style="red", markup=False, soft_wrap=True)
    return code


def _show_json(result: Any) -> None:
    sys.stdout.write(json.dumps(asdict(result), indent=1, default=str) + "\n")
