"""Compile the optimiser for this machine, if that has not been done: ``python -m model.optimizer.kernel``."""

from model.optimizer.kernel.solver import PROGRAM

if __name__ == "__main__":
    done = PROGRAM.functions() is not None
    print("The optimiser is compiled." if done else "Nothing can be compiled here; the slower form is used.")
