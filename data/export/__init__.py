"""Retargeted motions as files: `body` puts poses of hands on the target's whole skeleton, the others write it."""
