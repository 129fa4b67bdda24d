"""Adds to the page of an evaluation what is measured only after it: the student's costs on devices."""

from collections.abc import Sequence

from advkd.evaluation.errors import EvaluationError
from advkd.evaluation.evaluation import REPORT
from advkd.evaluation.report import devices_html
from advkd.files import publish, read_published, workplace
from storage.errors import StoreNotFoundError
from storage.folders import fetch_folder
from storage.objects import join, local_folder, write_bytes

OPENING, CLOSING = "<!-- devices -->", "<!-- /devices -->"
"""Between these marks of the page stand the costs."""


def add_devices(uri: str, rows: Sequence[tuple[str, ...]], note: str) -> None:
    """Puts a table of costs on devices into a report, in the place of an older one.

    Args:
        uri: folder or URI of the evaluation.
        rows: of the table, its header first.
        note: sentence below it.

    Raises:
        EvaluationError: there is no report.
        StoreError: the object store does not return it or take it.
        OSError: it cannot be written.
    """
    try:
        page = read_published(uri, REPORT).decode()
    except (StoreNotFoundError, NotADirectoryError) as error:
        raise EvaluationError(
            f"costs are added to the {REPORT} of an evaluation, got none in {uri}; evaluate the student first"
        ) from error
    before, _, rest = page.partition(OPENING)
    _, closing, after = rest.partition(CLOSING)
    if not closing:
        # A report that was written before there were such costs.
        before, end, after = page.rpartition("</body>")
        after = end + after
    added = f"{before}{OPENING}{devices_html(rows, note)}{CLOSING}{after}"
    if added == page:
        return
    if local_folder(uri) is not None:
        write_bytes(join(uri, REPORT), added.encode())
        return
    with workplace(uri) as folder:
        whole = folder / "report"
        fetch_folder(uri, whole)
        (whole / REPORT).write_text(added, encoding="utf-8")
        publish(whole, uri)
