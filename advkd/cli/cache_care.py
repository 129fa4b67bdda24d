"""`advkd cache gc|convert|rm`: cleans, converts and removes stores. Parses, calls, prints."""

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
        str, typer.Option(help="Smallest age of what is removed: 0s, 30m, 12h, 1d, 2w.", metavar="AGE")
    ] = "1d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List only, remove nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what interrupted work left behind: unfinished writes, shards without a record, outdated index pages.

    Below a root also decoders of latents that no store there names, and in S3 files of checkpoints, students, reports
    and models whose upload was interrupted.

    A shard that is being uploaded right now looks like one whose worker was killed, and readers that opened a store
    before it grew still need its old index: so nothing younger than --older-than is removed, to which 15 min are added
    for clocks that differ. Choose an age that no upload of a shard and no reader exceeds, and use 0s only where nobody
    works on the store.
    """
    with clear_errors():
        stores = find_garbage(uri, _seconds(older_than))
        total = sum(len(store.old) for store in stores)
        removed: list[list[Garbage]] = [[] for _ in stores]
        if not dry_run:
            with progress() as report:
                for position, store in enumerate(stores):
                    before = sum(len(earlier.old) for earlier in stores[:position])
                    removed[position] = remove_garbage(store, progress=_shifted(report, before, total))
        if as_json:
            as_objects = [_found_json(store, gone) for store, gone in zip(stores, removed, strict=True)]
            print_json(
                {"uri": uri, "dry_run": dry_run, "older_than_seconds": _seconds(older_than), "stores": as_objects}
            )
            return
        for store, gone in zip(stores, removed, strict=True):
            _print_found(store, gone, dry_run)
        _print_sum(stores, removed, dry_run)
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
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove it. Without it, only list what would be removed, and exit with 1.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove one store with everything below its URI, and nothing else; this cannot be undone.

    The decoder of its latents stays for other stores of the root, until `advkd cache gc` finds that none names it.
    """
    with clear_errors():
        contents = store_contents(uri)
        if yes:
            with progress() as report:
                remove_store(contents, progress=lambda done, total: report("removing", done, total))
        if as_json:
            print_json(_contents_json(contents) | {"removed": yes})
        else:
            _print_contents(contents)
            if yes:
                typer.echo(f"removed {contents.num_objects:,} objects, {size_text(contents.total_bytes)}")
            typer.echo(uri)
        if not yes:
            fail(
                f"a store is removed only with --yes, and {uri} holds {contents.num_objects:,} objects, "
                f"{size_text(contents.total_bytes)}; add --yes to remove them"
            )


def _seconds(age: str) -> float:
    match = _AGE.fullmatch(age.strip())
    if not match:
        raise ValueError(f"--older-than must be a whole number and one of s, m, h, d, w, got {age!r}; write 1d or 30m")
    return float(match.group(1)) * _UNITS[match.group(2)]


def _shifted(report: Report, before: int, total: int) -> Callable[[int, int], None]:
    return lambda done, _: report("removing", before + done, total)


def _garbage_json(garbage: Garbage) -> dict[str, Any]:
    return {
        "kind": garbage.kind,
        "key": garbage.key,
        "bytes": garbage.size,
        "since": garbage.since,
        "shard": garbage.shard,
    }


def _found_json(store: StoreGarbage, gone: list[Garbage]) -> dict[str, Any]:
    return {
        "uri": store.uri,
        "found": [_garbage_json(garbage) for garbage in store.old],
        "removed": [_garbage_json(garbage) for garbage in gone],
        "too_young": [_garbage_json(garbage) for garbage in store.young],
        "foreign": list(store.foreign),
        "problem": store.problem,
    }


def _print_found(store: StoreGarbage, gone: list[Garbage], dry_run: bool) -> None:
    table = columns("", "size", "age", "what", "key", left=1)
    for column in table.columns[3:]:
        column.justify = "left"
    fates = [
        ("would go" if dry_run else "removed" if garbage in gone else "in use now", garbage) for garbage in store.old
    ]
    fates += [("too young", garbage) for garbage in store.young]
    for fate, garbage in fates[:_LISTED]:
        size = "?" if garbage.size is None else size_text(garbage.size)
        table.add_row(fate, size, age_text(garbage.since), garbage.kind, garbage.key)
    if not (fates or store.foreign or store.problem):
        return
    typer.echo(store.uri)
    if fates:
        stdout().print(table)
    if len(fates) > _LISTED:
        typer.echo(f"... and {len(fates) - _LISTED:,} more; --json lists all")
    for key in store.foreign[:_LISTED]:
        typer.echo(f"left alone, not of a store: {key}")
    if len(store.foreign) > _LISTED:
        typer.echo(f"left alone, not of a store: {len(store.foreign) - _LISTED:,} more; --json lists all")
    if store.problem:
        typer.echo(f"only unfinished writes are removed here: {store.problem}", err=True)


def _print_sum(stores: list[StoreGarbage], removed: list[list[Garbage]], dry_run: bool) -> None:
    if not any(store.old or store.young for store in stores):
        typer.echo("nothing to remove")
        return
    chosen = [garbage for of_store in ([store.old for store in stores] if dry_run else removed) for garbage in of_store]
    young = sum(len(store.young) for store in stores)
    typer.echo(
        f"{'would remove' if dry_run else 'removed'} {len(chosen):,} object(s), "
        f"{size_text(sum(garbage.size or 0 for garbage in chosen))}" + (f"; {young:,} too young" if young else "")
    )


def _contents_json(contents: StoreContents) -> dict[str, Any]:
    return {
        "uri": join(contents.uri),
        "sealed": contents.sealed,
        "objects": contents.num_objects,
        "bytes": contents.total_bytes,
        "unfinished_writes": len(contents.leftovers),
        "by_kind": {
            role.value: {"objects": len(group), "bytes": sum(info.size for info in group)}
            for role, group in contents.objects.items()
        },
    }


def _print_contents(contents: StoreContents) -> None:
    table = columns("what", "objects", "size")
    for role, group in ((role, contents.objects[role]) for role in Role if role in contents.objects):
        table.add_row(role.value, f"{len(group):,}", size_text(sum(info.size for info in group)))
    if contents.leftovers:
        table.add_row("unfinished write", f"{len(contents.leftovers):,}", "?")
    stdout().print(table)
