"""The compiled programs, by name: functions of the address of :mod:`model.optimizer.kernel.layout`'s arguments."""

from __future__ import annotations

from model.optimizer.kernel import blocks, source, ties
from model.optimizer.kernel.layout import FEW, LANES, WORK
from utils.vectors import memory

ENTRIES = {
    "search": lambda arguments: blocks.search(memory(arguments[WORK]).wide(LANES), arguments),
    "search_few": lambda arguments: blocks.search(memory(arguments[WORK]).wide(FEW), arguments),
    "follow": lambda arguments: source.follow(memory(arguments[WORK]).wide(FEW), arguments),
    "touched": lambda arguments: blocks.touched(memory(arguments[WORK]).wide(LANES), arguments),
    "smooth": lambda arguments: ties.smooth(memory(arguments[WORK]).wide(LANES), arguments),
}
