"""Moves the alias `champion`: by the gate, by hand, and back to an earlier version.

Tags of the versions hold the history: which version a champion replaced (`advkd.replaced`), when (`advkd.promoted`),
and when and why it was rolled back (`advkd.rolled_back`). A user rolls back if the figures were wrong, so the gate does
not undo it: see `judge`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from advkd.registry.describing import renewed
from advkd.registry.gate import RECALL_MARGIN, Decision, Figures, gate
from advkd.registry.versions import (
    CHALLENGER,
    CHAMPION,
    DESCENT_TAG,
    REASON_TAG,
    RegistryError,
    aliased,
    figures_on,
    registered_model,
    versions_of,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

REPLACED_TAG = "advkd.replaced"
PROMOTED_TAG = "advkd.promoted"
ROLLED_BACK_TAG = "advkd.rolled_back"


@dataclass(frozen=True, kw_only=True)
class Move:
    """Result of a promotion or roll-back.

    Attributes:
        name: registered name.
        version: number of the present champion.
        before: number of the previous champion, None if there was none.
    """

    name: str
    version: int
    before: int | None


def decide(client: "MlflowClient", version: Any, recall_margin: float = RECALL_MARGIN) -> Decision:
    """Gives a new version the alias by the decision of `judge`, and writes the reason to its tags."""
    decision = judge(client, version, recall_margin)
    if decision.promote:
        make_champion(client, version)
    else:
        client.set_registered_model_alias(version.name, CHALLENGER, str(version.version))
    # The reason is written last: if it is missing, the call was interrupted, and the next one repeats it.
    client.set_model_version_tag(version.name, str(version.version), REASON_TAG, decision.reason)
    return decision


def judge(client: "MlflowClient", candidate: Any, recall_margin: float = RECALL_MARGIN) -> Decision:
    """Returns the gate's decision on a new version, and considers roll-backs.

    Three kinds of versions are never promoted: a version that was rolled back; one with the same teacher, store and
    training settings as a version that was rolled back; and one whose FD, by the same protocol, is no better than that
    of a version that was rolled back. The last one may beat the champion, but such figures have proved wrong.
    """
    figures = figures_on(candidate)
    if figures is None:
        return Decision(promote=False, reason="it has no figures")
    for other in versions_of(client, candidate.name):
        if ROLLED_BACK_TAG in other.tags and (objection := _objection(candidate, figures, other)):
            return Decision(promote=False, reason=f"{objection}; promote it by hand")
    return gate(figures, figures_on(aliased(client, candidate.name, CHAMPION)), recall_margin)


def _objection(candidate: Any, figures: Figures, other: Any) -> str:
    """Returns why a version cannot be trusted, given one that was rolled back; "" if it can."""
    if int(other.version) == int(candidate.version):
        return "it was rolled back"
    bad, descent, theirs = (
        f"version {other.version} was rolled back",
        candidate.tags.get(DESCENT_TAG),
        figures_on(other),
    )
    if descent and descent == other.tags.get(DESCENT_TAG):
        return f"{bad}, and this is the same recipe"
    if theirs is None or theirs.fd is None or figures.fd is None:
        return ""
    if _protocol(theirs) != _protocol(figures) or figures.fd < theirs.fd:
        return ""
    return f"{bad} with FD {theirs.fd:.4g}, and {figures.fd:.4g} is no better"


def _protocol(figures: Figures) -> tuple[str, str, int]:
    return figures.teacher_fingerprint, figures.extractor_sha256, figures.samples


def make_champion(client: "MlflowClient", version: Any) -> Move:
    """Writes the previous champion to a version's tags, then gives it the alias; so a call can be repeated."""
    name, number = version.name, int(version.version)
    champion = aliased(client, name, CHAMPION)
    before = None if champion is None else int(champion.version)
    if before != number:
        client.set_model_version_tag(name, str(number), PROMOTED_TAG, _now())
        if before is not None:
            client.set_model_version_tag(name, str(number), REPLACED_TAG, str(before))
    _crown(client, version)
    return Move(name=name, version=number, before=before)


def _crown(client: "MlflowClient", version: Any) -> None:
    client.set_registered_model_alias(version.name, CHAMPION, str(version.version))
    if CHALLENGER in version.aliases:
        client.delete_registered_model_alias(version.name, CHALLENGER)
    text = renewed(client.get_registered_model(version.name).description, version)
    if text is not None:
        client.update_registered_model(version.name, description=text)


def promote(client: "MlflowClient", name: str, version: int) -> Move:
    """Makes a version champion by hand, without the gate, even if it was rolled back.

    Raises:
        RegistryError: there is no such version.
    """
    chosen = find_version(client, name, str(version))
    if ROLLED_BACK_TAG in chosen.tags:
        client.delete_model_version_tag(name, chosen.version, ROLLED_BACK_TAG)
    return make_champion(client, chosen)


def roll_back(client: "MlflowClient", name: str, why: str = "", to: int | None = None) -> Move:
    """Gives the alias back to the previous champion, and marks the present one as rolled back.

    Args:
        client: client of the registry.
        name: registered name.
        why: reason, written to the tag.
        to: number of the version to go back to; None: the previous champion.

    Raises:
        RegistryError: there is no champion, or no version to go back to.
    """
    champion = aliased(client, name, CHAMPION)
    if champion is None:
        require_model(client, name)
        raise RegistryError(f"a roll-back needs a champion, got none of {name}; promote a version instead")
    target = _one_before(client, champion) if to is None else find_version(client, name, str(to))
    if int(target.version) == int(champion.version):
        raise RegistryError(f"a roll-back must go to another version, got {to}, the champion; choose an earlier one")
    # The mark is written first, so the gate cannot promote the version again in between.
    client.set_model_version_tag(name, champion.version, ROLLED_BACK_TAG, f"{_now()} {why}".rstrip())
    if ROLLED_BACK_TAG in target.tags:
        client.delete_model_version_tag(name, target.version, ROLLED_BACK_TAG)
    earlier = champion.tags.get(REPLACED_TAG)
    if earlier and PROMOTED_TAG not in target.tags:
        # It was never champion: the next roll-back goes to the version to which this one would have gone.
        client.set_model_version_tag(name, target.version, REPLACED_TAG, earlier)
    client.set_model_version_tag(name, target.version, PROMOTED_TAG, _now())
    _crown(client, target)
    return Move(name=name, version=int(target.version), before=int(champion.version))


def find_version(client: "MlflowClient", name: str, which: str) -> Any:
    """Returns a version by its number or alias.

    Raises:
        RegistryError: there is no such version.
    """
    model = require_model(client, name)
    number, versions = str(model.aliases.get(which, which)), versions_of(client, name)
    for version in versions:
        if str(version.version) == number:
            return version
    known = ", ".join([str(version.version) for version in versions] + sorted(model.aliases))
    raise RegistryError(f"a version must be one that {name} has, got {which!r}; choose one of {known or 'none'}")


def require_model(client: "MlflowClient", name: str) -> Any:
    """Returns a model by name; raises `RegistryError`, which lists the known names, if there is none."""
    model = registered_model(client, name)
    if model is None:
        known = ", ".join(sorted(registered.name for registered in client.search_registered_models())) or "none yet"
        raise RegistryError(f"a model must be registered, got {name!r}; the registered ones are: {known}")
    return model


def _one_before(client: "MlflowClient", champion: Any) -> Any:
    """Returns the version that the champion replaced; skips versions that were rolled back or deleted."""
    known = {str(version.version): version for version in versions_of(client, champion.name)}
    passed, number = {str(champion.version)}, champion.tags.get(REPLACED_TAG)
    while number in known and number not in passed:
        passed.add(number)
        if ROLLED_BACK_TAG not in known[number].tags:
            return known[number]
        number = known[number].tags.get(REPLACED_TAG)
    raise RegistryError(
        f"a roll-back goes to the champion before, got none before version {champion.version} of {champion.name}; "
        "name a version with --to"
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
