"""The training-free optimiser: every frame's best pose on the target, from the source's semantic matrix."""

from model.optimizer.search import optimise, touch_goals
from model.optimizer.settings import CONTACT_WEIGHT, SMOOTHNESS, TOUCH_SMOOTHNESS, TOUCH_STEPS, OptimizerSettings

__all__ = [
    "CONTACT_WEIGHT",
    "SMOOTHNESS",
    "TOUCH_SMOOTHNESS",
    "TOUCH_STEPS",
    "OptimizerSettings",
    "optimise",
    "touch_goals",
]
