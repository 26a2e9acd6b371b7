"""The compiled optimiser beside the torch form, which is the reference."""

import pytest
import torch

from model import motion as motion_of
from model.hands import offset_hand
from model.kinematics import tbs_from_angles
from model.limits import JointLimits
from model.losses import finger_weights
from model.mano import ManoHand
from model.measures import measure
from model.optimizer import OptimizerSettings, optimise, smoothing
from model.optimizer.kernel import layout, solver
from model.optimizer.search import wanted_pairs
from model.semantics import SourceDirections
from model.topology import INDEX, PINKY, SIDES, THUMB
from tests.helpers import plausible_offsets
from tests.model.optimizer.test_search import character, motion, part_of, pinch
from utils.threads import torch_threads

FRAMES = 37
"""Not a multiple of the lanes."""


@pytest.fixture(autouse=True, scope="module")
def compiled():
    assert solver.PROGRAM.functions() is not None


def by_torch(*args, **kwargs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solver, "covers", lambda *args: False)
        return optimise(*args, **kwargs)


def task(side="right", batch=(2, FRAMES), seed=0):
    """A target, a source's semantic matrix and the start, in single precision."""
    start = tbs_from_angles(motion(*batch, seed=seed))
    source, target = character(side, 1), character(side, 2, torch.float32)
    return target, source.with_tbs(start).semantic_matrix().map(lambda part: part.float()), start.float()


def totals(posed, matrix, start, settings):
    """The objective ``(F,)`` of the torch form, in double precision, of poses that any form found."""
    begin, angles = (settings.limits.nearest_angles(tbs.double().flatten(0, -5)) for tbs in (start, posed.tbs))
    hand = offset_hand(posed.shaped.offsets.double(), posed.shaped.axes.double(), posed.shaped.side)
    part = part_of(hand, begin, matrix.map(lambda part: part.double()).flattened(), settings)
    return part._total(part._evaluate(angles)[0], angles)


SETTINGS = {
    "plain": OptimizerSettings(),
    "contacts": OptimizerSettings(contact_weight=1000.0, contact_far=1.0),
    "all angles": OptimizerSettings.converged(contact_weight=100.0),
    "near joints": OptimizerSettings(distance_weighted=True, keep_near=False),
}


class TestBesideTorch:
    @pytest.mark.parametrize("side", SIDES)
    @pytest.mark.parametrize("name", SETTINGS)
    def test_as_good(self, side, name):
        """Frames end in the same place, but for a few at a limit or on a ridge; none ends worse."""
        target, matrix, start = task(side)
        settings = SETTINGS[name]
        found, expected = optimise(target, matrix, start, settings), by_torch(target, matrix, start, settings)
        directions = SourceDirections(matrix)
        cosines = [directions.cosines(each.joints, each.frames)[0].mean((-1, -2)) for each in (found, expected)]
        assert (cosines[0] - cosines[1]).abs().max() < 1e-4
        values = [totals(each, matrix, start, settings) for each in (found, expected)]
        assert (values[0] - values[1]).abs().max() < 2e-3 * values[1].max()
        gained = totals(target.with_tbs(start), matrix, start, settings) - values[0]
        assert gained.min() > 0.1  # it was worth comparing

    def test_smooth(self, monkeypatch):
        """As the torch form would, had it the patience."""
        target, matrix, start = task(batch=(2, 60))
        settings = OptimizerSettings(smoothness=1000.0, contact_weight=100.0, frame_rate=90.0)
        monkeypatch.setattr(smoothing, "_ITERATIONS", 500)
        monkeypatch.setattr(smoothing, "_ENOUGH", 1e-9)
        found = optimise(target, matrix, start, settings)
        hand = offset_hand(target.offsets.double(), target.axes.double(), "right")
        expected = optimise(hand, matrix.map(lambda part: part.double()), start.double(), settings)
        rough = optimise(target, matrix, start, OptimizerSettings(contact_weight=100.0))
        scale = target.at_rest().palm_length
        assert (found.joints - expected.joints).abs().max() < 1e-3 * scale
        assert (found.joints - rough.joints).abs().max() > 5e-3 * scale

    def test_no_steps(self):
        target, matrix, start = task()
        found = optimise(target, matrix, start, OptimizerSettings(iterations=0))
        assert (found.tbs - start).abs().max() < 1e-5

    def test_pose_is_that_of_the_hand(self):
        target, matrix, start = task()
        found = optimise(target, matrix, start)
        again = target.with_tbs(found.tbs)
        for part in ("local", "fingers", "joints", "frames"):
            assert (getattr(found, part) - getattr(again, part)).abs().max() < 3e-5

    def test_near_joints_weigh_as_in_training(self):
        """The weights that are handed over are those of the torch form."""
        _, matrix, start = task()
        flat, settings = matrix.flattened(), SETTINGS["near joints"]
        near = finger_weights(flat.finger.norm(dim=-1), True, settings.unweighted_share) * 20
        weight = wanted_pairs(flat, settings).weight[:, :20].permute(2, 0, 1)
        assert torch.allclose(near * (1 - torch.eye(20)), weight, atol=1e-5)


class TestSurface:
    """Joints of the MANO hand lie where its posed surface has them."""

    @pytest.fixture(params=SIDES)
    def mano(self, request, mano_models, mano_axes):
        hand = ManoHand.load(mano_models, mano_axes, request.param, torch.float32)
        return hand.with_shape(torch.linspace(-1.5, 1.5, 10))

    @pytest.mark.parametrize(("name", "mean", "worst"), [("plain", 2e-4, 1e-2), ("all angles", 1e-5, 1e-3)])
    def test_as_good(self, mano, name, mean, worst):
        _, matrix, start = task(mano.side)
        found, expected = (each(mano, matrix, start, SETTINGS[name]) for each in (optimise, by_torch))
        directions = SourceDirections(matrix)
        cosines = [directions.cosines(each.joints, each.frames)[0].mean((-1, -2)) for each in (found, expected)]
        assert (cosines[1] - cosines[0]).mean() < mean and (cosines[1] - cosines[0]).max() < worst
        assert found.shaped is mano
        assert (found.joints - mano.with_local_rotations(found.local).joints).abs().max() < 1e-6

    def test_an_own_pose_is_found(self, mano):
        start = mano.with_tbs(tbs_from_angles(motion(1, FRAMES, seed=3)).float())
        copied = tbs_from_angles(motion(1, FRAMES, seed=3) * 0.9).float()
        found = optimise(mano, start.semantic_matrix(), copied, OptimizerSettings.converged())
        assert (found.joints - start.joints).abs().max() < 2e-3 * start.palm_length.max()

    def test_bones_of_a_pose(self, mano):
        posed = mano.with_tbs(tbs_from_angles(motion(2, 5)).float())
        assert (solver._bones(posed).with_tbs(posed.tbs).joints - posed.joints).abs().max() < 1e-6

    def test_smooth(self, mano):
        _, matrix, start = task(mano.side, batch=(1, 60))
        still, smooth = (OptimizerSettings(smoothness=weight, frame_rate=90.0) for weight in (0.0, 1000.0))
        paths = [optimise(mano, matrix, start, settings).joints for settings in (still, smooth)]
        jerks = [path.diff(n=3, dim=1).norm(dim=-1).mean() for path in paths]
        assert jerks[1] < 0.9 * jerks[0]


class TestBlocks:
    @pytest.mark.parametrize("smoothness", [0.0, 1000.0])
    def test_any_number_of_threads_gives_the_same_bits(self, smoothness):
        target, matrix, start = task(batch=(3, 700))
        settings = OptimizerSettings(contact_weight=1000.0, smoothness=smoothness)
        found = []
        for number in (1, 2, 5):
            with torch_threads(number):
                found.append(optimise(target, matrix, start, settings))
        for other in found[1:]:
            assert torch.equal(found[0].local, other.local) and torch.equal(found[0].joints, other.joints)

    def test_neighbours_in_a_block_make_no_difference(self):
        """Each frame stops by itself."""
        target, matrix, start = task(batch=(1, 40))
        together = optimise(target, matrix, start).local
        alone = optimise(target, matrix.map(lambda part: part[:, 7:9]), start[:, 7:9]).local
        assert torch.equal(together[:, 7:9], alone)

    def test_size_of_segments_makes_no_difference(self, monkeypatch):
        target, matrix, start = task(batch=(1, 600))
        settings = OptimizerSettings(smoothness=1000.0, contact_weight=100.0)
        found = []
        for size in (600, 256, 100):
            monkeypatch.setattr(solver, "SEGMENT", size)
            found.append(optimise(target, matrix, start, settings).local)
        for other in found[1:]:
            assert (found[0] - other).abs().max() < 3e-6  # a few roundings of single precision

    def test_hands_of_their_own(self):
        """For every sequence, and for every frame."""
        offsets = plausible_offsets(3, 1, seed=4).float()
        axes = character("right", 1, torch.float32).axes.expand(3, 1, -1, -1, -1, -1)
        _, matrix, start = task(batch=(3, 20))
        each = optimise(offset_hand(offsets, axes, "right"), matrix, start).joints
        for number in range(3):
            one = offset_hand(offsets[number], axes[number], "right")
            found = optimise(one, matrix.at(slice(number, number + 1)), start[number : number + 1]).joints
            assert torch.equal(found[0], each[number])
        every = offset_hand(offsets.expand(3, 20, -1, -1), axes.expand(3, 20, -1, -1, -1, -1), "right")
        assert torch.equal(optimise(every, matrix, start).joints, each)


class TestWhatIsAsked:
    def test_limits_are_kept_exactly(self):
        narrow = JointLimits(finger_bend=((0.2, 0.7),) * 3, thumb_bend=((-0.1, 0.3),) * 3)
        target, matrix, start = task()
        for smoothness in (0.0, 10.0):
            settings = OptimizerSettings(limits=narrow, all_angles=True, smoothness=smoothness)
            angles = narrow.nearest_angles(optimise(target, matrix, start, settings).tbs.double())
            assert (tbs_from_angles(angles) - optimise(target, matrix, start, settings).tbs).abs().max() < 1e-5

    def test_contacts_close(self):
        start = tbs_from_angles(pinch(character("right", 1)))
        matrix = character("right", 1).with_tbs(start).semantic_matrix().map(lambda part: part.float())
        target = character("right", 2, torch.float32)
        settings = OptimizerSettings(iterations=20, contact_weight=1000.0)
        posed = optimise(target, matrix, start.float(), settings)
        tips = (4 * finger + 4 for finger in (THUMB, INDEX))
        first, second = (posed.joints[..., tip, :] for tip in tips)
        assert ((first - second).norm(dim=-1) / posed.palm_length).max() <= 0.02

    def test_missing_joints_do_not_count(self):
        target, matrix, start = task()
        present = torch.ones(21, dtype=torch.bool)
        present[1 + 4 * PINKY : 5 + 4 * PINKY] = False
        settings = OptimizerSettings(contact_weight=100.0, contact_far=2.0)
        expected = by_torch(target, matrix, start, settings, present)
        finger, palm = (part.clone() for part in matrix)
        gone = slice(4 * PINKY, 4 * PINKY + 4)
        finger[..., gone, :, :], finger[..., :, gone, :], palm[..., gone, :, :] = torch.nan, torch.nan, torch.nan
        palm[..., [PINKY, PINKY + 4], :] = torch.nan
        found = optimise(target, type(matrix)(finger, palm), start, settings, present)
        assert found.joints.isfinite().all()
        assert (found.joints - expected.joints).abs().max() < 2e-3 * found.palm_length.max()
        assert (found.tbs[..., PINKY, :, :, :] - start[..., PINKY, :, :, :]).abs().max() < 1e-5

    def test_a_joint_that_counts_must_be_known(self):
        target, matrix, start = task()
        present = torch.ones(21, dtype=torch.bool)
        matrix.finger[0, 3, 5, 6, 1] = torch.nan
        with pytest.raises(ValueError, match="finger.*NaN"):
            optimise(target, matrix, start, None, present)

    def test_hand_that_lacks_joints(self):
        present = torch.ones(21, dtype=torch.bool)
        present[4 * PINKY + 4] = False
        whole, matrix, start = task()
        target = offset_hand(whole.offsets, whole.axes, "right", present.expand(1, 21))
        found, expected = (form(target, matrix, start, None, present) for form in (optimise, by_torch))
        assert (found.joints - expected.joints).abs().max() < 2e-3 * found.palm_length.max()


class TestDispatch:
    @pytest.mark.parametrize("change", ["double", "cold"])
    def test_what_it_does_not_cover(self, change, monkeypatch):
        """Goes to the torch form; so does what comes while nothing is compiled."""
        target, matrix, start = task(batch=(1, 3))
        called = []
        monkeypatch.setattr(solver, "solve", lambda *args: called.append(args))
        if change == "double":
            hand = offset_hand(target.offsets.double(), target.axes.double(), "right")
            optimise(hand, matrix.map(lambda part: part.double()), start.double())
        else:
            monkeypatch.setattr(solver.PROGRAM, "_functions", None)
            monkeypatch.setattr(solver.PROGRAM, "_kept", lambda: None)
            optimise(target, matrix, start)
        assert not called

    def test_long_motions_are_worth_compiling(self, monkeypatch):
        asked = []
        monkeypatch.setattr(solver.PROGRAM, "functions", lambda compile=True: asked.append(compile))
        monkeypatch.setattr(solver, "_waited_for", 0)
        assert not solver.ready(solver._SHORT - 1) and not solver.ready(1)
        assert asked == [False, False, True]

    def test_layout_has_room(self):
        assert layout.FORM_SIZE == layout.UNKNOWNS + layout.N_ANGLES
        ends = [value for name, value in vars(layout).items() if name.startswith("R_")]
        assert len(set(ends)) == len(ends) and max(ends) < layout.ROWS


class TestLongMotions:
    """Long motions are solved a block after the other."""

    @pytest.mark.parametrize("frame_rate", [30.0, 240.0])
    def test_the_size_of_a_block_does_not_matter(self, frame_rate, monkeypatch):
        target, _, start = task(batch=(1, 5 * solver.SEGMENT + 7))
        other = character("right", 1, torch.float32)
        hand, target = (offset_hand(each.offsets[0], each.axes[0], "right") for each in (other, target))
        source = motion_of.SourceMotion(hand, hand.with_tbs(start[0]).local, frame_rate)
        retargeting = motion_of.MotionRetargeting("optimize", target, torch.ones(21, dtype=torch.bool))
        whole = retargeting(source)
        monkeypatch.setattr(motion_of, "BLOCK", solver.SEGMENT)
        assert retargeting(source).local.equal(whole.local)
        mask = retargeting.present
        parts, all_at_once = motion_of.measured(source, whole, mask), measure(source.directions, whole, mask)
        torch.testing.assert_close(parts.s_finger, all_at_once.s_finger, rtol=0, atol=1e-6)
