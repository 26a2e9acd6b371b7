"""Train and test the DM baseline: `python -m run.train_dm {fit,validate,test,predict} --config config/DM.yaml`."""

from run.training.overview import overview

overview("run.train_dm", "DM", __name__)

from model.dm import DM
from run.training.command_line import run_program

if __name__ == "__main__":
    run_program(DM, "dm", "run.train_dm")
