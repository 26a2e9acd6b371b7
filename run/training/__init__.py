"""What is behind `run.train_mixhand` and `run.train_dm`."""
