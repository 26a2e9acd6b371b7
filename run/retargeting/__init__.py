"""What is behind `run.retarget`: the plan of what is written, reports and films."""
