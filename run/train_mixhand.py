"""Train and test ASRN: `python -m run.train_mixhand {fit,validate,test,predict} --config config/ASRN.yaml`."""

from run.training.overview import overview

overview("run.train_mixhand", "ASRN", __name__)

from model.asrn import ASRN
from run.training.command_line import run_program

if __name__ == "__main__":
    run_program(ASRN, "asrn", "run.train_mixhand")
