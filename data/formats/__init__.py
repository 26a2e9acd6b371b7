"""File formats. They serve inside Blender too: Python 3.7 and NumPy, nothing else (a test sees to it)."""
