"""A character: its skeleton, its skin and its hands, read from any file (meshes, glTF, FBX, BVH, MANO)."""
