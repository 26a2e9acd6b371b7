"""What is chosen by name, apart from the code that does it: command lines tell it before anything heavy is loaded."""

from __future__ import annotations

MOTION_FORMATS = ("bvh", "glb", "fbx", "vrma", "mano")
"""What retargeted motions are written as."""
BODIES = KEEP, FOLLOW, REST = "keep", "follow", "rest"
"""What a body does while its hands take the source's motion."""
FEATURE_FORMATS = ("ours", "published")
"""Layouts of feature files."""
AXIS_METHODS = ("combined", "mesh")
"""How axes are found: by all evidence, or by the published estimate from the mesh."""
MANO_FOLDER = "artifact/smplx/models"
"""Where MANO is looked for, if a data set has none."""
