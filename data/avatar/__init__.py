"""Whoever moves or is moved: hands, and the skeleton they hang on, from any file (characters, BVH, FBX, glTF, MANO).

`hand_rig` brings the hand of any skeleton into the frame in which features are defined, and rotations there and back;
`avatar` is what the rest of the program handles; `reading` makes avatars and `motion` their motions from files;
`mano_file` is the exchange format of MANO motions.
"""
