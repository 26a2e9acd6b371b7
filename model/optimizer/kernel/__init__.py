"""The optimiser as one compiled program, 16 frames side by side: the mathematics of :mod:`model.optimizer.search`.

What runs is written down by :mod:`geometry`, :mod:`terms`, :mod:`step`, :mod:`blocks` and :mod:`ties` (which import
LLVM, and only where it is compiled); :mod:`solver` calls it.
"""
