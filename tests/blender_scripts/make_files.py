"""Run with Blender: make small FBX and glTF files in the folder after ``--``, with what is true of them."""

import json
import os
import sys

import bpy
from mathutils import Matrix, Quaternion

FOLDER = sys.argv[sys.argv.index("--") + 1]
BONES = (
    ("Root", None, (0, 0, 1)),
    ("Arm", "Root", (0.2, 0, 1)),
    ("Hand", "Arm", (0.5, 0, 1)),
    ("Tip", "Hand", (0.6, -0.02, 1)),
)
TO_CHARACTER = Matrix(((1, 0, 0), (0, 0, 1), (0, -1, 0)))


def armature(name, mirror=1.0):
    """Four bones along x, one metre up; the finger bends a little towards the front."""
    data = bpy.data.armatures.new(name)
    thing = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(thing)
    bpy.context.view_layer.objects.active = thing
    bpy.ops.object.mode_set(mode="EDIT")
    for index, (bone_name, parent, head) in enumerate(BONES):
        bone = data.edit_bones.new(bone_name)
        bone.head = (mirror * head[0], head[1], head[2])
        after = BONES[index + 1][2] if index + 1 < len(BONES) else (0.7, -0.04, 1)
        bone.tail = (mirror * after[0], after[1], after[2])
        bone.parent = data.edit_bones[parent] if parent else None
    bpy.ops.object.mode_set(mode="OBJECT")
    return thing


def box(name, owner, bones, mirror=1.0):
    """Boxes beyond the heads of `bones`, skinned to them."""
    corners = [(x, y, z) for x in (0, 0.08) for y in (-0.01, 0.01) for z in (-0.01, 0.01)]
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    heads = {bone: head for bone, _, head in BONES}
    points, faces = [], []
    for number, bone in enumerate(bones):
        points += [(mirror * (heads[bone][0] + x), heads[bone][1] + y, heads[bone][2] + z) for x, y, z in corners]
        faces += [tuple(8 * number + corner for corner in quad) for quad in quads]
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(points, [], faces)
    thing = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(thing)
    if owner is not None:
        for number, bone in enumerate(bones):
            group = thing.vertex_groups.new(name=bone)
            group.add(list(range(8 * number, 8 * number + 8)), 1.0, "REPLACE")
        thing.parent = owner
        thing.modifiers.new("Armature", "ARMATURE").object = owner


def action(thing, name, bone, axis):
    """The bone turns by 60° about its own axis in 10 frames; returns these rotations in the character's frame."""
    thing.animation_data_create().action = bpy.data.actions.new(name)
    pose = thing.pose.bones[bone]
    rest = TO_CHARACTER @ pose.bone.matrix_local.to_3x3()
    truth = []
    for frame in range(11):
        turn = Quaternion(axis, 1.0471975511965976 * frame / 10)
        pose.rotation_quaternion = turn
        pose.keyframe_insert("rotation_quaternion", frame=frame + 1)
        truth.append([list(row) for row in rest @ turn.to_matrix() @ rest.transposed()])
    pose.rotation_quaternion = (1, 0, 0, 0)
    return truth


def export(name, gltf=True):
    """The scene as .fbx and .glb."""
    bpy.ops.export_scene.fbx(
        filepath=os.path.join(FOLDER, name + ".fbx"), add_leaf_bones=False, bake_anim_simplify_factor=0
    )
    if gltf:
        bpy.ops.export_scene.gltf(filepath=os.path.join(FOLDER, name + ".glb"), export_format="GLB")


def scene():
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.scene.render.fps = 25
    bpy.context.scene.frame_start, bpy.context.scene.frame_end = 1, 11


truth = {"heads": {name: [100 * head[0], 100 * head[2], -100 * head[1]] for name, _, head in BONES}}
scene()
arm = armature("Armature")
box("Sleeve", arm, ["Root", "Arm"])
box("Glove", arm, ["Hand", "Tip"])
box("Floor", None, ["Root"])
export("still")
truth["wave"] = action(arm, "wave", "Hand", (1, 0, 0))
export("arm")
for thing in [thing for thing in bpy.data.objects if thing.type == "MESH"]:
    bpy.data.objects.remove(thing)
export("motion", gltf=False)
scene()
box("Lonely", None, ["Root"])
export("no_armature")
scene()
for name, mirror in (("One", 1.0), ("Two", -1.0)):
    owner = armature(name, mirror)
    box("Mesh" + name, owner, ["Root", "Arm", "Hand", "Tip"], mirror)
export("two")
with open(os.path.join(FOLDER, "truth.json"), "w") as stream:
    json.dump(truth, stream)
sys.stdout.flush()
if getattr(bpy.app, "module", False):
    os._exit(0)
