"""File formats, features, windows and batches: everything between files and named tensors."""
