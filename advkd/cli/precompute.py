"""`advkd precompute`: fills a store and seals it."""

import os
from dataclasses import asdict
from typing import Annotated

import typer

from advkd.cli.precompute_options import takes_precompute_options
from advkd.cli.result import AsJson, tell
from advkd.runtime import progress
from advkd.text import replaced_text
from advkd.trajectories import PrecomputeSpec, precompute
from storage import open_store


@takes_precompute_options
def precompute_command(
    spec: PrecomputeSpec,
    workers: Annotated[int, typer.Option(help="Shards computed at the same time.")] = os.cpu_count() or 1,
    for_preset: Annotated[
        str | None,
        typer.Option(help="Preset that the store is for: what it would refuse later is refused now. any: none."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a teacher on N noises and store its states in a sealed store; shards that exist are not computed again."""
    from advkd.foresight import refuse_for, warning_for

    if for_preset is not None:
        refuse_for(spec, for_preset)
    elif (warning := warning_for(spec)) is not None:
        typer.echo(f"warning: {warning}", err=True)
    with progress() as report:
        result = precompute(spec, lambda done, total: report("trajectories", done, total), workers)
    state = "sealed" if result.sealed else "was sealed already"
    facts = open_store(result.uri).manifest.spec
    replaced, whole = replaced_text(facts.sampler_config), result.shards * facts.shard_samples
    more = f" of {whole} in whole shards" if whole > result.num_samples else ""
    tell(
        f"store {state}: {result.num_samples} trajectories{more}, {result.computed} of {result.shards} shards "
        f"computed, {result.seconds:.1f} s{f'; the solver has {replaced}' if replaced else ''}",
        result.uri,
        asdict(result),
        as_json,
    )
