"""`advkd cache gc|convert|rm`: cleaning a store, laying it out anew, removing it. Parses, calls, prints."""

import re
from collections.abc import Callable
from typing import Annotated, Any

import typer

from advkd.runtime import Report, progress
from advkd.text import AsJson, Uri, age_text, clear_errors, columns, fail, print_json, size_text, stdout
from storage.care import (
    Garbage,
    Role,
    StoreContents,
    StoreGarbage,
    convert,
    find_garbage,
    remove_garbage,
    remove_store,
    store_contents,
)
from storage.objects import join

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGE = re.compile(r"([0-9]+)([smhdw])")
_LISTED = 20


def gc_command(
    uri: Annotated[str, typer.Argument(metavar="URI", help="A store, or a root of stores and runs.")],
    older_than: Annotated[
        str, typer.Option(help="Age from which something is removed: 0s, 30m, 12h, 1d, 2w.", metavar="AGE")
    ] = "1d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List only, remove nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what interrupted work left behind: unfinished writes, shards without a record, outdated index pages.

    Below a root in S3 also files of checkpoints, students, reports and models whose upload was interrupted.

    A shard that is being uploaded right now looks like one whose worker was killed, and readers that opened a store
    before it grew still need its old index: so nothing younger than --older-than is removed. Choose an age that no
    upload of a shard and no reader exceeds, and use 0s only where nobody works on the store.
    """
    with clear_errors():
        found = find_garbage(uri, _seconds(older_than))
        total = sum(len(one.old) for one in found)
        removed: list[list[Garbage]] = [[] for _ in found]
        if not dry_run:
            with progress() as report:
                for position, one in enumerate(found):
                    before = sum(len(other.old) for other in found[:position])
                    removed[position] = remove_garbage(one, progress=_shifted(report, before, total))
        if as_json:
            stores = [_found_json(one, gone) for one, gone in zip(found, removed, strict=True)]
            print_json({"uri": uri, "dry_run": dry_run, "older_than_seconds": _seconds(older_than), "stores": stores})
            return
        for one, gone in zip(found, removed, strict=True):
            _print_found(one, gone, dry_run)
        _print_sum(found, removed, dry_run)
        typer.echo(uri)


def convert_command(
    uri: Uri,
    to: Annotated[str, typer.Option("--to", help="The other layout: zarr, webdataset, or a package's.")],
    root: Annotated[
        str | None, typer.Option(help="Root URI for the new store; default: the one where the old store lies.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy a sealed store into another layout, bit for bit; the same command again goes on where it was stopped."""
    with clear_errors():
        with progress() as report:
            made = convert(uri, to, root, progress=lambda done, total: report("shards", done, total))
        if as_json:
            print_json({**vars(made), "from": uri})
            return
        typer.echo(
            f"{made.num_samples:,} trajectories in {to}, {made.copied} of {made.shards} shards copied, "
            f"{made.seconds:.1f} s"
        )
        typer.echo(made.uri)


def rm_command(
    uri: Uri,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it. Without: say what would go, and exit with 1.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove one store with everything below its URI, and nothing else; there is no way back."""
    with clear_errors():
        found = store_contents(uri)
        if yes:
            with progress() as report:
                remove_store(found, progress=lambda done, total: report("removing", done, total))
        if as_json:
            print_json(_contents_json(found) | {"removed": yes})
        else:
            _print_contents(found)
            if yes:
                typer.echo(f"removed {found.num_objects:,} objects, {size_text(found.total_bytes)}")
            typer.echo(uri)
        if not yes:
            fail(
                f"a store is removed only with --yes, and {uri} holds {found.num_objects:,} objects, "
                f"{size_text(found.total_bytes)}; add --yes to remove them"
            )


def _seconds(age: str) -> float:
    found = _AGE.fullmatch(age.strip())
    if not found:
        raise ValueError(f"--older-than must be a whole number and one of s, m, h, d, w, got {age!r}; write 1d or 30m")
    return float(found.group(1)) * _UNITS[found.group(2)]


def _shifted(report: Report, before: int, total: int) -> Callable[[int, int], None]:
    return lambda done, _: report("removing", before + done, total)


def _garbage_json(one: Garbage) -> dict[str, Any]:
    return {"kind": one.kind, "key": one.key, "bytes": one.size, "since": one.since, "shard": one.shard}


def _found_json(found: StoreGarbage, gone: list[Garbage]) -> dict[str, Any]:
    return {
        "uri": found.uri,
        "found": [_garbage_json(one) for one in found.old],
        "removed": [_garbage_json(one) for one in gone],
        "too_young": [_garbage_json(one) for one in found.young],
        "foreign": list(found.foreign),
        "problem": found.problem,
    }


def _print_found(found: StoreGarbage, gone: list[Garbage], dry_run: bool) -> None:
    table = columns("", "size", "age", "what", "key", left=1)
    for column in table.columns[3:]:
        column.justify = "left"
    fates = [("would go" if dry_run else "removed" if one in gone else "in use now", one) for one in found.old]
    fates += [("too young", one) for one in found.young]
    for fate, one in fates[:_LISTED]:
        size = "?" if one.size is None else size_text(one.size)
        table.add_row(fate, size, age_text(one.since), one.kind, one.key)
    if not (fates or found.foreign or found.problem):
        return
    typer.echo(found.uri)
    if fates:
        stdout().print(table)
    if len(fates) > _LISTED:
        typer.echo(f"... and {len(fates) - _LISTED:,} more; --json lists all")
    for key in found.foreign[:_LISTED]:
        typer.echo(f"left alone, not of a store: {key}")
    if len(found.foreign) > _LISTED:
        typer.echo(f"left alone, not of a store: {len(found.foreign) - _LISTED:,} more; --json lists all")
    if found.problem:
        typer.echo(f"nothing but unfinished writes is removed here: {found.problem}", err=True)


def _print_sum(found: list[StoreGarbage], removed: list[list[Garbage]], dry_run: bool) -> None:
    if not any(one.old or one.young for one in found):
        typer.echo("nothing to remove")
        return
    chosen = [one for of_store in ([one.old for one in found] if dry_run else removed) for one in of_store]
    young = sum(len(one.young) for one in found)
    typer.echo(
        f"{'would remove' if dry_run else 'removed'} {len(chosen):,} object(s), "
        f"{size_text(sum(one.size or 0 for one in chosen))}" + (f"; {young:,} too young" if young else "")
    )


def _contents_json(found: StoreContents) -> dict[str, Any]:
    return {
        "uri": join(found.uri),
        "sealed": found.sealed,
        "objects": found.num_objects,
        "bytes": found.total_bytes,
        "unfinished_writes": len(found.leftovers),
        "by_kind": {
            role.value: {"objects": len(group), "bytes": sum(one.size for one in group)}
            for role, group in found.objects.items()
        },
    }


def _print_contents(found: StoreContents) -> None:
    table = columns("what", "objects", "size")
    for role, group in ((role, found.objects[role]) for role in Role if role in found.objects):
        table.add_row(role.value, f"{len(group):,}", size_text(sum(one.size for one in group)))
    if found.leftovers:
        table.add_row("unfinished write", f"{len(found.leftovers):,}", "?")
    stdout().print(table)
