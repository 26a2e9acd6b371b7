"""Motions that are positions of joints alone: files, and poses that put a hand of fitted bones there."""
