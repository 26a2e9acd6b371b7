"""Train and test the feedback network: `python -m run.train_feedback {fit,validate,test,predict} --config
config/Feedback.yaml`."""

from run.training.overview import overview

overview("run.train_feedback", "Feedback", __name__)

from data.hand_stream import StreamDataModule
from model.feedback.module import Feedback
from run.training.command_line import run_program

if __name__ == "__main__":
    run_program(Feedback, "feedback", "run.train_feedback", StreamDataModule)
