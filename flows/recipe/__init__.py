"""Plans a distillation, and checks it before anything starts."""

from flows.recipe.parameters import Device, Strict, TrainingSpec, placed
from flows.recipe.planning import Places, Recipe, recipe

__all__ = [
    "Device",
    "Places",
    "Recipe",
    "Strict",
    "TrainingSpec",
    "placed",
    "recipe",
]
