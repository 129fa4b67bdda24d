"""What a distillation is going to do, decided and checked before anything starts."""

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
