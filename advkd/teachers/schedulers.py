"""The schedulers of teachers: which classes are known, and with what arithmetic their networks were trained.

A folder's `scheduler_config.json` names the class. Its own defaults complete the config: another class would complete
it otherwise, with clipping or other betas. Importing this file imports no torch.
"""

from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from advkd.teachers.errors import TeacherError
from advkd.teachers.folder import read_json

VARIANCE_PRESERVING, FLOW, EDM = "variance preserving", "flow matching", "preconditioned (EDM)"
"""`x_t = a_t x_0 + s_t eps` with `a_t^2 + s_t^2 = 1`; `x_t = (1 - t) x_0 + t eps`, with velocity `eps - x_0`; and
`x_0 + sigma eps`, with a preconditioned network (Karras et al. 2022, https://arxiv.org/abs/2206.00364, Eq. 7)."""

_DISCRETE = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)
_STRAIGHT = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler")
_PRECONDITIONED = ("EDMDPMSolverMultistepScheduler", "EDMEulerScheduler")
ARITHMETIC: Mapping[str, str] = {
    name: arithmetic
    for names, arithmetic in ((_DISCRETE, VARIANCE_PRESERVING), (_STRAIGHT, FLOW), (_PRECONDITIONED, EDM))
    for name in names
}
"""Class of a teacher's scheduler -> how its network was trained. Nothing outside of this table is ever built."""

PREDICTIONS: Mapping[str, tuple[str, ...]] = {
    VARIANCE_PRESERVING: ("epsilon", "sample", "v_prediction"),
    FLOW: ("flow_prediction",),
    # Of EDM's networks, those that predict velocities have the other sign.
    EDM: ("epsilon", "v_prediction"),
}
Scheduler: TypeAlias = Any
"""A diffusers scheduler, or any object with `set_timesteps`, `step(...).prev_sample` and `config`; not typed."""


def read_scheduler(file: Path) -> dict[str, Any]:
    """Reads and checks a teacher's scheduler config.

    Raises:
        TeacherError: the class is not in `ARITHMETIC`, or the network predicts something that its arithmetic does not
            know.
    """
    config = read_json(file)
    name = config.get("_class_name")
    if name not in ARITHMETIC:
        raise TeacherError(
            f"a teacher's scheduler must be one of {sorted(ARITHMETIC)}, got {name!r} in {file}, whose arithmetic is "
            "not known here; save the pipeline with the scheduler of its training, or choose another teacher"
        )
    arithmetic, prediction = arithmetic_of(config), prediction_of(config)
    if prediction not in PREDICTIONS[arithmetic]:
        raise TeacherError(
            f"prediction_type of a {arithmetic} teacher must be one of {PREDICTIONS[arithmetic]}, got {prediction!r} "
            f"in {file}; choose another teacher"
        )
    return config


def arithmetic_of(config: Mapping[str, Any]) -> str:
    """Returns `VARIANCE_PRESERVING`, `FLOW` or `EDM`; solvers of the first kind are also used with flow sigmas."""
    if config.get("use_flow_sigmas"):
        return FLOW
    return ARITHMETIC[str(config.get("_class_name", "DDIMScheduler"))]


def prediction_of(config: Mapping[str, Any]) -> str:
    """Returns what a teacher's network predicts."""
    default = "flow_prediction" if arithmetic_of(config) == FLOW else "epsilon"
    return str(config.get("prediction_type", default))


def own_scheduler(config: Mapping[str, Any], place: str = "") -> Scheduler:
    """Builds a teacher's own scheduler, whose class completes the config by its own defaults.

    Raises:
        TeacherError: diffusers does not build it.
    """
    import diffusers

    name = str(config.get("_class_name", "DDIMScheduler"))
    try:
        return getattr(diffusers, name).from_config(dict(config))
    except Exception as error:
        raise TeacherError(
            f"a teacher's scheduler must be one that diffusers builds, got {type(error).__name__} for the config "
            f"of its {name}{f' in {place}' if place else ''}; save the pipeline again"
        ) from error


def full_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a teacher's own config with the defaults of its class, without diffusers' private keys."""
    return _settings(own_scheduler(config))


def _settings(scheduler: Scheduler) -> dict[str, Any]:
    return {key: value for key, value in scheduler.config.items() if not key.startswith("_")}


@lru_cache(maxsize=8)
def _parameters(kind: type) -> frozenset[str]:
    import inspect

    return frozenset(inspect.signature(kind.__init__).parameters) - {"self"}  # type: ignore[misc]


def reset(kind: type, config: Mapping[str, Any], **settings: Any) -> Scheduler:
    """Builds another class of scheduler with a teacher's own settings, as far as it has them, and the given ones."""
    known = full_config(config) | settings
    return kind(**{key: value for key, value in known.items() if key in _parameters(kind)})


def rebuilt(kind: type, config: Mapping[str, Any], **settings: Any) -> Scheduler:
    """Builds another class of variance preserving scheduler with the noise levels of a teacher's own.

    Betas that `kind` would not compute alike are handed over as they are.
    """
    import torch

    own = own_scheduler(config)
    # A class without `clip_sample` does not clip; others must not clip for it.
    known = {"clip_sample": False} | _settings(own) | settings
    given = {key: value for key, value in known.items() if key in _parameters(kind)}
    with suppress(NotImplementedError, ValueError):
        scheduler = kind(**given)
        if torch.equal(scheduler.betas, own.betas):
            return scheduler
    given |= {"trained_betas": own.betas.tolist(), "beta_schedule": "linear"}
    if "rescale_betas_zero_snr" in given:
        given["rescale_betas_zero_snr"] = False
    scheduler = kind(**given)
    if not torch.equal(scheduler.betas, own.betas):
        raise TeacherError(
            f"a solver must have the noise levels of the teacher's {type(own).__name__}, got others from "
            f"{kind.__name__}; choose another solver"
        )
    return scheduler
