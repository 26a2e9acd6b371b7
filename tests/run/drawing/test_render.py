"""Pictures: silhouettes against analytic projections, depth order, markers, pages of hands."""

import numpy as np
import pytest
import torch
from PIL import Image

from run.drawing.bones import bone_mesh
from run.drawing.figure import HandCell, hand_grid, printable
from run.drawing.render import CLOSED, OPEN, Box, Mesh, camera, color_of, fit_box, render_mesh, render_scene, save_png
from utils.raster import outside_and_normals, visible_faces

CUBE_FACES = np.array(
    [
        [0, 1, 3],
        [0, 3, 2],
        [4, 6, 7],
        [4, 7, 5],
        [0, 4, 5],
        [0, 5, 1],
        [2, 3, 7],
        [2, 7, 6],
        [0, 2, 6],
        [0, 6, 4],
    ]
    + [[1, 5, 7], [1, 7, 3]]
)
UNIT_BOX = Box(np.zeros(3), 2.0)


def cube(half=0.5, centre=(0.0, 0.0, 0.0)):
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=float)
    return corners * half + np.asarray(centre), CUBE_FACES


def sphere(radius=0.7, rings=48):
    polar, turn = np.linspace(0, np.pi, rings + 1), np.linspace(0, 2 * np.pi, 2 * rings + 1)
    p, t = np.meshgrid(polar, turn, indexing="ij")
    vertices = radius * np.stack([np.sin(p) * np.cos(t), np.sin(p) * np.sin(t), np.cos(p)], axis=-1).reshape(-1, 3)
    row = 2 * rings + 1
    a = (np.arange(rings)[:, None] * row + np.arange(row - 1)).reshape(-1)
    return vertices, np.concatenate([np.stack([a, a + row, a + row + 1], 1), np.stack([a, a + row + 1, a + 1], 1)])


def rgb(color):
    return np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])


def covered(picture):
    """Share of the picture that is not the white background, edges counted by their mixture with it."""
    return float((picture < 250).any(axis=-1).mean())


def near(picture, color, tolerance=12):
    return (np.abs(picture.astype(int) - rgb(color)) <= tolerance).all(axis=-1)


@pytest.mark.parametrize("view", ["palm", "back", "side", "three_quarter"])
def test_sphere_covers_its_disc_from_every_side(view):
    picture = render_mesh(*sphere(0.7), view=view, size=(200, 200), box=UNIT_BOX)
    assert covered(picture) == pytest.approx(np.pi * 0.7**2 / 4.0, rel=0.025)
    # and the disc is where it should be: rows and columns of its extent
    rows, columns = np.nonzero((picture < 250).any(axis=-1))
    assert [rows.min(), rows.max(), columns.min(), columns.max()] == pytest.approx([30, 169, 30, 169], abs=1)


def test_visible_area_of_a_cube_is_exact():
    vertices, faces = cube(0.5)
    points = vertices * [100, 100, 1] + [100, 100, 0]
    face, depth = visible_faces(points, faces, 200, 200)
    assert (face >= 0).sum() == 100 * 100
    assert np.unique(depth[face >= 0]) == pytest.approx([-0.5], abs=1e-8)
    corner = np.array([[1, 1, 1], [-1, 1, 1]]) / np.sqrt(3)
    turn = np.linalg.qr(np.concatenate([corner, [[0, 0.3, 1.0]]]).T)[0].T[[1, 2, 0]]  # looking along the diagonal
    face, _ = visible_faces((vertices @ turn.T) * [100, 100, 1] + [100, 100, 0], faces, 200, 200)
    assert (face >= 0).sum() == pytest.approx(np.sqrt(3) * 100**2, rel=0.005)


def test_neighbouring_triangles_leave_no_gap_and_share_no_pixel():
    generator = np.random.default_rng(3)
    points = np.concatenate([generator.uniform(0, 64, (40, 2)), generator.uniform(0, 1, (40, 1))], axis=1)
    fan = np.array([[0, i, i + 1] for i in range(1, 39)])
    angle = np.linspace(0, 2 * np.pi, 38)
    points[0, :2], points[1:39, 0], points[1:39, 1] = (
        32.3,
        32.3 + 25 * np.cos(angle),
        32.3 + 25 * np.sin(angle),
    )
    whole, _ = visible_faces(points, fan[:37], 64, 64)
    each = np.stack([visible_faces(points, fan[i : i + 1], 64, 64)[0] >= 0 for i in range(37)])
    assert each.sum(axis=0).max() == 1
    assert np.array_equal(each.any(axis=0), whole >= 0)
    x, y = np.meshgrid(np.arange(64) + 0.5, np.arange(64) + 0.5)
    assert ((whole >= 0)[np.hypot(x - 32.3, y - 32.3) < 24.8]).all()


def test_the_nearer_triangle_wins_at_every_pixel():
    # Two crossing planes: left half one is nearer, right half the other.
    square = np.array([[0, 0], [64, 0], [64, 64], [0, 64]], dtype=float)
    one = np.column_stack([square, square[:, 0]])
    two = np.column_stack([square, 64 - square[:, 0]])
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    face, depth = visible_faces(np.concatenate([one, two]), faces, 64, 64)
    assert (face[:, :32] < 2).all() and (face[:, 32:] >= 2).all()
    x = np.arange(64) + 0.5
    assert np.allclose(depth, np.minimum(x, 64 - x)[None], atol=1e-6)


def test_meshes_hide_each_other_by_depth_not_by_order():
    front = Mesh(*cube(0.3, (0, -0.9, 0)), "#00FF00")
    behind = Mesh(*cube(0.6, (0, 0.9, 0)), "#0000FF")
    for meshes in ([front, behind], [behind, front]):
        palm = render_scene(meshes, view="palm", size=(100, 100), box=UNIT_BOX)
        back = render_scene(meshes, view="back", size=(100, 100), box=UNIT_BOX)
        assert palm[50, 50].argmax() == 1 and palm[50, 25].argmax() == 2
        assert back[50, 50].argmax() == 2 and not (back.argmax(axis=-1) == 1)[back.min(axis=-1) < 200].any()


@pytest.mark.parametrize(("side", "fingers"), [("right", -1.0), ("left", 1.0)])
def test_views_hold_the_hand_upright(side, fingers):
    tip, dorsal, thumb = np.array([fingers, 0, 0]), np.array([0, 1.0, 0]), np.array([0, 0, 1.0])
    palm, back, from_thumb = (camera(view, side) for view in ("palm", "back", "side"))
    mirror = 1.0 if side == "right" else -1.0
    for turn in (palm, back, from_thumb, camera("three_quarter", side)):
        assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-12) and np.linalg.det(turn) == pytest.approx(1.0)
        assert (turn @ tip)[1] > 0.95
    assert palm @ dorsal == pytest.approx([0, 0, -1]) and back @ dorsal == pytest.approx([0, 0, 1], abs=1e-12)
    assert palm @ thumb == pytest.approx([mirror, 0, 0]) and back @ thumb == pytest.approx([-mirror, 0, 0], abs=1e-12)
    assert from_thumb @ thumb == pytest.approx([0, 0, 1], abs=1e-12)
    assert (camera("three_quarter", side) @ thumb)[2] > 0.3
    assert camera(palm, side) == pytest.approx(palm)


def test_a_left_hand_is_the_mirror_picture_of_a_right_one():
    vertices, faces = sphere(0.5)
    vertices = vertices * [1.0, 0.4, 0.7] + [-0.3, 0.05, 0.1]
    box = Box(np.zeros(3), 2.5)
    right = render_mesh(vertices, faces, size=(90, 90), box=box)
    left = render_mesh(vertices * [-1, 1, 1], faces, side="left", size=(90, 90), box=box)
    silhouettes = (right < 250).any(axis=-1), (left < 250).any(axis=-1)[:, ::-1]
    assert (silhouettes[0] != silhouettes[1]).mean() < 0.002


def test_light_comes_from_above_and_does_not_depend_on_the_winding():
    vertices, faces = sphere(0.8)
    picture = render_mesh(vertices, faces, size=(120, 120), color="#808080", box=UNIT_BOX)
    brightness = picture.mean(axis=-1)
    assert brightness[30, 45] > brightness[90, 75] + 40
    assert np.array_equal(
        picture, render_mesh(vertices, faces[:, ::-1], size=(120, 120), color="#808080", box=UNIT_BOX)
    )
    outwards, normals = outside_and_normals(vertices, faces[:, ::-1])
    inner = slice(100, -100)  # away from the poles, where vertices coincide
    assert (normals[inner] * vertices[inner] / 0.8).sum(axis=1).min() > 0.99


def test_the_mesh_has_its_own_colour():
    picture = render_mesh(*sphere(0.8), color="#FA7F6F", size=(120, 120), box=UNIT_BOX)
    body = picture[20:100, 20:100].reshape(-1, 3)[::7].astype(float)
    body = body[(body < 250).any(axis=1)].mean(axis=0)
    assert np.abs(body - rgb("#FA7F6F")).max() < 45 and body[0] > body[1] > body[2]


def painted(picture, plain, color):
    """Area in pixels that was painted over, part-covered pixels counted in part."""
    picture, plain, color = picture.astype(float), plain.astype(float), rgb(color)
    full = color - plain
    return float((((picture - plain) * full).sum(axis=-1) / (full * full).sum(axis=-1)).sum())


def test_markers_and_lines_lie_above_and_have_their_size():
    start, end = np.array([0.0, 0.5, 0.0]), np.array([0.5, 0.5, 0.5])  # behind the sphere in the palm view
    vertices, faces = sphere(0.7)
    plain, line, dot = (
        render_mesh(vertices, faces, size=(200, 200), box=UNIT_BOX, **marks)
        for marks in ({}, {"lines": [(start, end, OPEN, 3.0)]}, {"markers": [(start, CLOSED, 6)]})
    )
    length = 100 * np.hypot(0.5, 0.5)
    assert painted(line, plain, OPEN) == pytest.approx(3.0 * length + np.pi * 1.5**2, rel=0.02)
    assert near(dot, CLOSED)[100, 100] and near(dot[90:110, 90:110], CLOSED, 100).sum() == pytest.approx(113, rel=0.1)
    rim = (dot[90:110, 90:110] > 240).all(axis=-1).sum()
    assert 20 < rim < np.pi * (7.8**2 - 6**2)
    far = render_mesh(
        *sphere(0.7), size=(50, 50), box=UNIT_BOX, markers=[([np.nan, 0, 0], OPEN, 4), ([9, 9, 9], OPEN, 4)]
    )
    assert np.array_equal(far, render_mesh(*sphere(0.7), size=(50, 50), box=UNIT_BOX))


def test_frames_are_drawn_in_one_box_and_like_single_pictures():
    vertices, faces = sphere(0.5, rings=12)
    motion = torch.tensor(np.stack([vertices, vertices + [0.0, 0, 0.5], vertices * 0.5])[None], dtype=torch.float32)
    pictures = render_mesh(motion.requires_grad_(), torch.tensor(faces), size=(80, 60))
    assert pictures.shape == (1, 3, 60, 80, 3) and pictures.dtype == np.uint8
    box = fit_box(motion, size=(80, 60))
    single = render_mesh(motion[0, 2], faces, size=(80, 60), box=box)
    assert np.array_equal(pictures[0, 2], single)
    assert covered(pictures[0, 2]) == pytest.approx(covered(pictures[0, 0]) / 4, rel=0.15)
    assert render_mesh(motion[:, :0], faces, size=(80, 60)).shape == (1, 0, 60, 80, 3)


def test_fit_box_fills_the_picture_but_for_the_margin():
    vertices, faces = cube(0.5)
    vertices = vertices * [4.0, 1.0, 1.0] + [3.0, -2.0, 7.0]  # 4 high, 1 wide
    for size in ((100, 100), (60, 200), (300, 100)):
        picture = render_mesh(vertices, faces, size=size, box=fit_box(vertices, size=size, margin=0.1))
        rows, columns = np.nonzero((picture < 250).any(axis=-1))
        used = max((np.ptp(rows) + 1) / size[1], (np.ptp(columns) + 1) / size[0])
        assert used == pytest.approx(0.8, abs=0.03)
        assert rows.mean() == pytest.approx((size[1] - 1) / 2, abs=0.6)


def test_same_input_gives_the_same_bytes():
    vertices, faces = sphere(0.6, rings=20)
    pictures = [render_mesh(vertices, faces, size=(64, 64)) for _ in range(3)]
    assert np.array_equal(pictures[0], pictures[1]) and np.array_equal(pictures[0], pictures[2])
    assert not np.array_equal(pictures[0], render_mesh(vertices, faces, size=(64, 64), samples=1))


def test_nothing_to_draw_leaves_the_background():
    vertices, faces = cube()
    for points, triangles in ((vertices * np.nan, faces), (vertices, faces[:0]), (vertices + 50.0, faces)):
        picture = render_mesh(points, triangles, size=(20, 30), box=UNIT_BOX, background="#102030")
        assert picture.shape == (30, 20, 3) and (picture == rgb("#102030")).all()
    partly = vertices.copy()
    partly[0] = np.inf
    whole = covered(render_mesh(vertices, faces, size=(40, 40), box=UNIT_BOX))
    assert 0.4 * whole < covered(render_mesh(partly, faces, size=(40, 40), box=UNIT_BOX)) <= whole
    huge = render_mesh(vertices * 1e6, faces, size=(40, 40), box=UNIT_BOX)
    assert covered(huge) == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: camera("above"), "view must be one of"),
        (lambda: camera("palm", side="middle"), "side must be"),
        (lambda: camera(np.eye(2)), r"shape \(3, 3\)"),
        (lambda: render_mesh(cube()[0], [[0, 1]]), r"shape \(F, 3\)"),
        (lambda: render_mesh(cube()[0], [[0, 1, 8]]), "0..8, but the mesh has 8"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_png_round_trip_and_nothing_left_behind(tmp_path):
    picture = render_mesh(*cube(), size=(31, 17))
    save_png(tmp_path / "new" / "cube.png", picture)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["cube.png"]
    with Image.open(tmp_path / "new" / "cube.png") as image:
        assert image.size == (31, 17) and np.array_equal(np.asarray(image), picture)


def hand_of_boxes(scale=1.0, open_gap=0.2):
    vertices, faces = cube(0.5)
    vertices = (vertices * [2.0, 0.5, 1.0] + [-1.0, 0, 0]) * scale
    tips = np.array([[-1.5, -0.3, 0.1], [-1.5, -0.3, 0.1 + open_gap]]) * scale
    return vertices, faces, tips


def test_grid_has_the_colours_and_marks_of_its_cells():
    cells = []
    for gap, closed in ((0.0, True), (0.4, False)):
        vertices, faces, tips = hand_of_boxes(open_gap=gap)
        cells.append(HandCell(vertices, faces, 1.0, f"pinch {gap:.2f}", [(tips[0], tips[1], closed)], strong=closed))
    colors = [color_of("source"), color_of("dm")]
    page = hand_grid([cells], ["Source", "DM"], ["OK"], colors=colors, cell_width=160, density=1.0, inset=None)
    middle = page.shape[1] - 16 - 160
    left, right = page[:, :middle], page[:, middle:]
    assert near(left, CLOSED).sum() > 40 and near(right, CLOSED).sum() == 0
    assert near(right, OPEN).sum() > 100 and near(left, OPEN).sum() == 0
    assert near(right, color_of("dm"), 40).sum() > 10 * near(left, color_of("dm"), 40).sum()
    plain = hand_grid([cells], ["Source", "DM"], colors=colors, cell_width=160, density=1.0, inset=None)
    assert plain.shape[1] == 2 * 160 + 32 < page.shape[1]


def test_grid_shows_hands_of_any_size_with_equal_palms():
    small, faces, _ = hand_of_boxes(0.1)
    large, _, _ = hand_of_boxes(100.0)
    row = [HandCell(small, faces, 0.1, color="#FA7F6F"), HandCell(large, faces, 100.0, color="#FA7F6F"), None]
    page = hand_grid([row], ["a", "b", "c"], cell_width=120, density=2.0)
    cell = 240
    first, second, third = (page[100:, 32 + i * cell : 32 + (i + 1) * cell] for i in range(3))
    assert (np.abs(first.astype(int) - second) > 8).mean() < 0.001
    assert covered(first) > 0.1 and covered(third) == 0.0


def test_grid_grows_by_rows_and_tells_wrong_lengths():
    vertices, faces, _ = hand_of_boxes()
    row = [HandCell(vertices, faces)] * 2
    one, three = (hand_grid([row] * n, ["a", "b"], cell_width=80, density=1.0) for n in (1, 3))
    assert one.shape[1] == three.shape[1] and three.shape[0] > 2 * one.shape[0] - 80
    with pytest.raises(ValueError, match="row 0 must have 3 entries; got 2"):
        hand_grid([row], ["a", "b", "c"])
    with pytest.raises(ValueError, match="row_titles must have 1 entries; got 2"):
        hand_grid([row], ["a", "b"], ["x", "y"])


def test_titles_use_characters_that_the_font_has():
    assert printable("Twist–bend–splay × Zoë · 5°") == "Twist-bend-splay x Zoe · 5°"


def test_bones_become_a_closed_figure_round_the_joints():
    joints = np.array([[0.0, 0, 0], [-1, 0, 0], [-2, 0, 0], [-1, 0, 1]])
    vertices, faces = bone_mesh(np.stack([joints, joints + 5]), (-1, 0, 1, 0), 0.1, plates=[(0, 1, 3)])
    assert vertices.shape[0] == 2 and np.allclose(vertices[1], vertices[0] + 5)
    low, high = vertices[0].min(axis=0), vertices[0].max(axis=0)
    assert low == pytest.approx([-2.1, -0.1, -0.1], abs=0.01) and high == pytest.approx([0.1, 0.1, 1.1], abs=0.01)
    assert np.array_equal(outside_and_normals(vertices[0], faces)[0], faces)
    picture = render_mesh(vertices[0], faces, size=(200, 200), box=Box(np.array([-1.0, 0, 0.5]), 3.0))
    limbs = 2.0 * 0.2 + np.pi * 0.01  # the straight limb with its two round ends
    assert covered(picture) * 9.0 > limbs + 0.5 * 0.8  # and most of the triangle beside it
    assert covered(picture) * 9.0 < limbs + 0.5 + 1.5 * 0.2 + 0.2
