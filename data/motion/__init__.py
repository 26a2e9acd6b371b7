"""Motions of hands from files, and retargeted motions to files."""
