"""Whatever file a rig comes from, its hands are the same: fingertips that it lacks, and the axes they bend about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data.axes.evidence import degrees_between
from data.blender import find_blender
from data.character.gltf import read_gltf_character
from data.character.reading import Reading, read_character, read_mesh_character
from data.formats.bvh import Bvh, write_bvh
from data.formats.character_files import Request, write_character
from data.formats.skeleton import as_bvh
from data.motion.fbx import write_fbx
from data.motion.glb import write_glb
from data.motion.reading import read_motions
from model.topology import SIDES, TIPS
from tests.helpers import rotations

INPUTS = Path(__file__).parents[2] / "golden" / "inputs"
READING = Reading(Path("."))


@pytest.fixture(params=["Aj", "BigVegas", "Kaya"], scope="module")
def tipless(request, tmp_path_factory) -> Path:
    """The mesh file of a reference character whose tip bones are taken away; no bone is turned at rest."""
    with np.load(INPUTS / f"{request.param}_mesh_data.npz") as data:
        arrays = dict(data)
    kept = [number for number, name in enumerate(arrays["bone_names"]) if not ("Hand" in name and name.endswith("4"))]
    place = {-1: -1, **{old: new for new, old in enumerate(kept)}}
    labels = {name: column for column, name in enumerate(arrays["vgrp_label"])}
    arrays["weight"] = arrays["weight"][:, [labels[name] for name in arrays["bone_names"][kept]]]
    for prefix, names in (("vgrp", "vgrp_label"), ("bone", "bone_names")):
        arrays[names], arrays[f"{prefix}_cors"] = arrays["bone_names"][kept], arrays["bone_cors"][kept]
        arrays[f"{prefix}_parents"] = np.array([place[parent] for parent in arrays["bone_parents"][kept].tolist()])
    arrays["bone_axes"] = np.tile(np.eye(3), (len(kept), 1, 1))
    path = tmp_path_factory.mktemp("tipless") / f"{request.param}_mesh_data.npz"
    np.savez(path, **arrays)
    return path


def moves(path: Path) -> Bvh:
    """A motion of all joints of a mesh file."""
    skeleton = read_mesh_character(path).skeleton
    turned = rotations(3, len(skeleton.names), seed=1, angle=0.5).numpy()
    return Bvh.from_rotations(skeleton.names, skeleton.parents, skeleton.offsets, turned, frame_time=1 / 30,
                              root_positions=np.broadcast_to(skeleton.heads[0], (3, 3)))  # fmt: skip


def check(found, expected, tips=1e-3, degrees=0.05) -> None:
    """Fingertips agree within `tips` centimetres, bend axes within `degrees`, and the hands lack the same."""
    assert found.sides == expected.sides == SIDES
    for side in SIDES:
        one, other = found.hand(side), expected.hand(side)
        far = np.linalg.norm(one.rest.joints - other.rest.joints, axis=1)
        assert far[list(TIPS)].max() < tips, f"{side} fingertips lie {far[list(TIPS)].round(3)} cm apart"
        assert far.max() < tips
        bends = (hand.axes[:, :, 1].reshape(-1, 3) for hand in (one, other))
        off = [degrees_between(*pair) for pair in zip(*bends, strict=True)]
        assert max(off) < degrees, f"{side} bend axes lie up to {max(off):.2f} degrees apart"
        assert np.array_equal(one.present, other.present) and np.array_equal(one.rest.made_up, other.rest.made_up)


def test_the_data_set_and_retargeting_see_one_hand(tipless):
    of_data_set, retargeted = read_mesh_character(tipless), read_character(str(tipless), READING)
    check(retargeted, of_data_set, 1e-9, 1e-6)
    for side in SIDES:
        hand, shaped = of_data_set.hand(side), retargeted.hand(side).shaped
        assert not hand.rest.made_up.any()  # the skin tells where every finger ends
        np.testing.assert_allclose(shaped.offsets, hand.masked.offsets, atol=1e-5)
        np.testing.assert_allclose(shaped.axes, hand.masked.axes, atol=1e-6)


def test_gltf_of_the_rig_and_what_is_converted_from_it(tipless, tmp_path):
    character = read_mesh_character(tipless)
    glb = tmp_path / "rig.glb"
    write_glb(glb, character.skeleton, character.skin, moves(tipless), "rig")
    check(read_character(str(glb), READING), character)
    mesh = tmp_path / "rig_mesh_data.npz"
    write_character(read_gltf_character(glb), Request(str(glb), str(mesh), str(tmp_path), "rig"))
    check(read_mesh_character(mesh), character)
    check(read_character(str(mesh), READING), character)


def test_bvh_that_knows_the_mesh_and_bvh_with_a_mesh(tipless, tmp_path):
    """BVH files written with the mesh have its tips as End Sites; without it, the mesh's own hand takes the motion."""
    character, bvh = read_mesh_character(tipless), moves(tipless)
    places = np.broadcast_to(character.skeleton.heads, (2, len(bvh.parents), 3))
    told = as_bvh(character.skeleton, np.zeros_like(places), places, 0.1, character.skin)
    write_bvh(tmp_path / "told.bvh", told)
    alone = read_character(str(tmp_path / "told.bvh"), READING)
    for side in SIDES:  # without skin the axes are the bones' alone
        np.testing.assert_allclose(alone.hand(side).rest.joints, character.hand(side).rest.joints, atol=1e-3)
    write_bvh(tmp_path / "moves.bvh", bvh)
    (motion,) = read_motions(tmp_path / "moves.bvh", READING, own_hand=read_character(str(tipless), READING))
    check(motion.character, character, 1e-9, 1e-6)
    assert all(track.present.all() for track in motion.tracks.values())


@pytest.mark.skipif(find_blender(None) is None, reason="no Blender here (S2H_BLENDER, PATH, .venv-blender)")
def test_fbx_of_the_rig(tipless, tmp_path):
    character = read_mesh_character(tipless)
    glb, fbx = tmp_path / "rig.glb", tmp_path / "rig.fbx"
    write_glb(glb, character.skeleton, character.skin, moves(tipless), "rig")
    write_fbx(fbx, glb, moves(tipless), "rig")
    # Blender gives bones axes of its own, and those are evidence for the hinges.
    check(read_character(str(fbx), READING), character, 0.01, 10.0)
