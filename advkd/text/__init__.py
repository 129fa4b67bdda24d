"""Text for people: sizes, times, facts of stores, links, tables. Imports no torch, because pages and servers use it."""

from advkd.text.links import DEFAULT_PORT, store_link
from advkd.text.replaced import replaced_text
from advkd.text.store_facts import (
    facts_rows,
    facts_table,
    grid_rows,
    grid_table,
    growth_json,
    manifest_json,
    size_and_time,
    statistics_rows,
    statistics_table,
    summary_json,
)
from advkd.text.terminal import AsJson, Uri, clear_errors, columns, facts, fail, print_json, stdout
from advkd.text.units import age_text, billed_text, duration_text, size_text

__all__ = [
    "DEFAULT_PORT",
    "AsJson",
    "Uri",
    "age_text",
    "billed_text",
    "clear_errors",
    "columns",
    "duration_text",
    "facts",
    "facts_rows",
    "facts_table",
    "fail",
    "grid_rows",
    "grid_table",
    "growth_json",
    "manifest_json",
    "print_json",
    "replaced_text",
    "size_and_time",
    "size_text",
    "statistics_rows",
    "statistics_table",
    "stdout",
    "store_link",
    "summary_json",
]
