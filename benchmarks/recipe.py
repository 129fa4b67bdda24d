"""`make bench-recipe`: variants of a teacher's recipe, trained from one cache for equal CPU seconds, side by side.

`python -m benchmarks.recipe --teacher SOURCE --seconds 240 --groups student grid` runs the base, which is what the
rules make of the preset `quick` for this teacher, and some groups. Training and figures are those of `make
bench-peers`: schedules run on the share of the budget, so a cheaper variant makes more steps. What was measured stays
below `--root` and is not repeated.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from advkd.training import TrainSpec
from benchmarks.measure import DOCS, table, write_section
from benchmarks.measure import progress as say
from benchmarks.peers.held_out import trained_on_others
from benchmarks.peers.protocol import Problem, cache_spec
from benchmarks.peers.runs import add_options, kept_run, parsed, prepared, refer, task_of
from benchmarks.peers.table import BASE as OURS
from benchmarks.recipe_variants import BASE, GROUPS, Variant

HEADER = (
    "variant",
    "worth",
    "FD",
    "recall",
    "coverage",
    "parameters",
    "of the teacher's",
    "of a step",
    "latency, batch 1",
    "batch 64",
    "steps",
    "seeds",
)
Runs = Mapping[str, Sequence[Mapping[str, float]]]


def main() -> None:
    options = _options()
    problem, extractor = prepared(options)
    if options.held_out is None:
        refer(problem, options)
    runs, name = _measured(problem, options), problem.teacher.name
    text = f"## {name}\n\n{_protocol(problem, extractor.name, options)}\n\n" + "\n\n".join(
        _group(group, runs) for group in options.groups
    )
    print(text)
    if options.write:
        head = "# Variants of the recipe\n\n`make bench-recipe`."
        write_section(DOCS / "benchmarks" / "recipe.md", name, text, head)


def _measured(problem: Problem, options: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """The runs of every variant; the first seeds of all come first, what is in two groups once."""
    variants = {variant.name: variant for variant in (BASE, *(v for name in options.groups for v in GROUPS[name]))}
    asked = [(variant, seed) for seed in range(options.seeds) for variant in variants.values()]
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
    with ThreadPoolExecutor(options.workers) as pool:
        waiting = {
            pool.submit(
                kept_run,
                task_of(problem, OURS, seed, _recipe(variant, problem, options), options),
                options.root,
            ): variant
            for variant, seed in asked
        }
        for done, future in enumerate(as_completed(waiting), 1):
            name, figures = waiting[future].name, future.result()
            runs[name].append(figures)
            worth = f"worth {figures['worth']:.2f}, " if "worth" in figures else ""
            say(
                f"{done}/{len(asked)} {name}: {worth}FD {figures['fd']:.2f}, recall "
                f"{figures.get('recall', 0.0):.3f}, {figures['steps']:.0f} steps, {figures['params'] / 1000:.0f} k"
            )
    return runs


def _recipe(variant: Variant, problem: Problem, options: argparse.Namespace) -> TrainSpec:
    changed = variant.change(problem.recipe, problem.facts)
    return changed if options.held_out is None else trained_on_others(changed, problem, options.held_out)


def _group(name: str, runs: Runs) -> str:
    rows = [_row(variant.name, runs[variant.name]) for variant in (BASE, *GROUPS[name])]
    return f"### {name}\n\n{table(list(HEADER), rows)}"


def _row(name: str, runs: Sequence[Mapping[str, float]]) -> list[str]:
    def middle(figure: str) -> float:
        return statistics.median(run.get(figure, 0.0) for run in runs)

    def share(figure: str) -> str:
        whole = middle(f"teacher_{figure}")
        # A teacher in closed form has no parameters.
        return f"{middle(figure) / whole:.2f}" if whole else "-"

    def spread(figure: str, form: str) -> str:
        if figure not in runs[0]:
            return "-"
        values = sorted(run[figure] for run in runs)
        ends = f" ({values[0]:{form}} to {values[-1]:{form}})" if len(values) > 1 else ""
        return f"{middle(figure):{form}}{ends}"

    return [
        name,
        spread("worth", ".1f"),
        spread("fd", ".3g"),
        f"{middle('recall'):.3f}",
        f"{middle('coverage'):.3f}",
        f"{middle('params') / 1000:.0f} k",
        *(share(figure) for figure in ("params", "macs", "milliseconds_of_one", "milliseconds")),
        f"{middle('steps'):.0f}",
        str(len(runs)),
    ]


def _protocol(problem: Problem, extractor: str, options: argparse.Namespace) -> str:
    beside = (
        f"{options.evaluation_samples} noises, features of `{extractor}`, target of {options.target_steps} steps"
        if options.held_out is None
        else f"beside {options.held_out} of them, which no student was trained on, in the features of `{extractor}`"
    )
    return (
        f"{options.trajectories or cache_spec(options.teacher, '').samples} trajectories of "
        f"{problem.facts.solver_steps} steps ({problem.facts.sampler}), {options.seconds:g} CPU seconds for each run, "
        f"in {problem.recipe.computed_precision}; {beside}. Medians over the training seeds, worth and FD with "
        "their ranges; parameters, multiply-adds and milliseconds of a "
        "student's pass over those of a step of the teacher, which is two passes under guidance."
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", nargs="+", default=list(GROUPS), choices=list(GROUPS))
    add_options(parser, "runs/recipe", "the teacher's section of docs/benchmarks/recipe.md", seeds=1)
    parser.add_argument(
        "--held-out", type=int, help="compare with so many trajectories of the cache, not with a curve: no worth"
    )
    return parsed(parser)


if __name__ == "__main__":
    main()
