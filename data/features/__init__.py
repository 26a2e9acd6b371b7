"""What networks are fed: rows of features, their files, windows cut from them, and batches."""
