"""Who is champion: by the gate, by hand, and back again.

Noted on the versions themselves, as tags: which version each champion took over from (`advkd.replaced`), when
(`advkd.promoted`), and that it was rolled back, when and why (`advkd.rolled_back`). A roll-back is a person's judgement
that the figures were wrong, so the gate does not undo it: see `judge`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

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
    """The champion moved, or stayed where it was asked to be.

    Attributes:
        name: registered name.
        version: the champion now.
        before: the champion before, None if there was none.
    """

    name: str
    version: int
    before: int | None


def decide(client: "MlflowClient", version: Any, recall_margin: float = RECALL_MARGIN) -> Decision:
    """Gives a new version the alias that `judge` says it has earned, and notes why."""
    decision = judge(client, version, recall_margin)
    if decision.promote:
        make_champion(client, version)
    else:
        client.set_registered_model_alias(version.name, CHALLENGER, str(version.version))
    # Last: a version without a reason was interrupted before its alias, and the next call goes on from there.
    client.set_model_version_tag(version.name, str(version.version), REASON_TAG, decision.reason)
    return decision


def judge(client: "MlflowClient", candidate: Any, recall_margin: float = RECALL_MARGIN) -> Decision:
    """The gate's decision on a new version, in view of what was rolled back.

    Never promoted: a version that was rolled back itself; one of the same descent (teacher, store and training
    settings) as one that was; and one whose FD is no better than that of one that was, where both were measured alike,
    although it may beat the champion: the champion is there because figures like these were not believed.
    """
    figures = figures_on(candidate)
    if figures is None:
        return Decision(promote=False, reason="it has no figures")
    for other in versions_of(client, candidate.name):
        if ROLLED_BACK_TAG in other.tags and (objection := _objection(candidate, figures, other)):
            return Decision(promote=False, reason=f"{objection}; promote it by hand")
    return gate(figures, figures_on(aliased(client, candidate.name, CHAMPION)), recall_margin)


def _objection(candidate: Any, figures: Figures, other: Any) -> str:
    """Why a version cannot be trusted, given one that was rolled back; "" if it can."""
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
    """Gives a version the alias, and notes from whom; the alias comes last, so an interrupted call can be repeated."""
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


def promote(client: "MlflowClient", name: str, version: int) -> Move:
    """Makes a version champion by hand, whatever the gate or a roll-back said of it.

    Raises:
        RegistryError: no such version.
    """
    chosen = find_version(client, name, str(version))
    if ROLLED_BACK_TAG in chosen.tags:
        client.delete_model_version_tag(name, chosen.version, ROLLED_BACK_TAG)
    return make_champion(client, chosen)


def roll_back(client: "MlflowClient", name: str, why: str = "", to: int | None = None) -> Move:
    """Gives the alias back to the version that had it before, and notes on the one that loses it that this was meant.

    Args:
        client: of the registry.
        name: registered name.
        why: noted beside the time.
        to: another version than the one before.

    Raises:
        RegistryError: no champion, or nothing to go back to.
    """
    champion = aliased(client, name, CHAMPION)
    if champion is None:
        require_model(client, name)
        raise RegistryError(f"a roll-back needs a champion, got none of {name}; promote a version instead")
    target = _one_before(client, champion) if to is None else find_version(client, name, str(to))
    if int(target.version) == int(champion.version):
        raise RegistryError(f"a roll-back must go to another version, got {to}, the champion; choose an earlier one")
    # The mark first: whatever comes between, nobody promotes that version again by itself.
    client.set_model_version_tag(name, champion.version, ROLLED_BACK_TAG, f"{_now()} {why}".rstrip())
    if ROLLED_BACK_TAG in target.tags:
        client.delete_model_version_tag(name, target.version, ROLLED_BACK_TAG)
    earlier = champion.tags.get(REPLACED_TAG)
    if earlier and PROMOTED_TAG not in target.tags:
        # It never led: another roll-back goes to where this one would have gone.
        client.set_model_version_tag(name, target.version, REPLACED_TAG, earlier)
    client.set_model_version_tag(name, target.version, PROMOTED_TAG, _now())
    _crown(client, target)
    return Move(name=name, version=int(target.version), before=int(champion.version))


def find_version(client: "MlflowClient", name: str, which: str) -> Any:
    """A version by its number or alias.

    Raises:
        RegistryError: there is none.
    """
    model = require_model(client, name)
    number, versions = str(model.aliases.get(which, which)), versions_of(client, name)
    for version in versions:
        if str(version.version) == number:
            return version
    known = ", ".join([str(version.version) for version in versions] + sorted(model.aliases))
    raise RegistryError(f"a version must be one that {name} has, got {which!r}; choose one of {known or 'none'}")


def require_model(client: "MlflowClient", name: str) -> Any:
    """The model of that name; `RegistryError`, with the names that there are, if there is none."""
    model = registered_model(client, name)
    if model is None:
        known = ", ".join(sorted(registered.name for registered in client.search_registered_models())) or "none yet"
        raise RegistryError(f"a model must be registered, got {name!r}; the registered ones are: {known}")
    return model


def _one_before(client: "MlflowClient", champion: Any) -> Any:
    """The version that the champion took over from; one that was rolled back itself, or is gone, is passed over."""
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
