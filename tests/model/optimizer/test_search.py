import numpy as np
import pytest
import torch

from data.open_hands.anatomy import finger_axes
from model.asrn import ASRN
from model.hands import offset_hand
from model.kinematics import tbs_from_angles
from model.limits import JointLimits
from model.mano import ManoHand
from model.measures import measure
from model.optimizer.curvature import linearised, objective
from model.optimizer.search import OptimizerSettings, _Part, optimise, wanted_pairs
from model.semantics import SourceDirections
from model.topology import DOMAINS, PINKY, SIDES, THUMB, TIPS
from tests.helpers import SMALL, loss_features, pair, plausible_offsets

TYPES = [torch.float32, torch.float64]


def character(side, seed, dtype=torch.float64):
    """A made hand whose fingers bend about the axis across them."""
    offsets = plausible_offsets(1, side=side, seed=seed)
    across = torch.tensor([0.0, 0.0, 1.0 if side == "right" else -1.0]).double().expand(1, 5, 3)
    return offset_hand(offsets.to(dtype), finger_axes(offsets, across).to(dtype), side)


@pytest.fixture(scope="module")
def mano(mano_models, mano_axes):
    def shaped(side, seed, dtype=torch.float64):
        betas = torch.randn(1, 10, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        return ManoHand.load(mano_models, mano_axes, side, dtype).with_shape(betas.to(dtype))

    return shaped


@pytest.fixture(params=[(domain, side) for domain in DOMAINS for side in SIDES], ids="-".join)
def hands(request, mano):
    """A source and a target of one side; the target of one domain."""
    domain, side = request.param
    return lambda dtype=torch.float64: (
        character(side, 1, dtype),
        (character if domain == "mixamo" else mano)(side, 2, dtype),
    )


def motion(*batch, seed=0, dtype=torch.float64):
    """Angles ``(*batch, 5, 3, 3)`` that move smoothly over the last of ``batch``, well within the limits."""
    random = np.random.default_rng(seed)
    time = np.arange(batch[-1])
    shape = (*batch[:-1], 5, 3, 3)
    phase, rate = random.uniform(0, 2 * np.pi, shape), random.uniform(0.02, 0.1, shape)
    wave = np.sin(phase[..., None] + rate[..., None] * time)
    wave = torch.from_numpy(np.moveaxis(wave, -1, len(batch) - 1))
    size = torch.zeros(3, 3, dtype=torch.float64)
    size[:, 1], size[0, 2] = 0.5, 0.15
    centre = torch.zeros(3, 3, dtype=torch.float64)
    centre[:, 1] = 0.6
    return (centre + size * wave).to(dtype).contiguous()


def cosines(coords, posed):
    """S_finger and S_palm of every sequence."""
    found = measure(SourceDirections(coords), posed)
    return found.s_finger.flatten(1).mean(1), found.s_palm.flatten(1).mean(1)


def part_of(hand, angles, coords, settings):
    frames = torch.arange(len(angles))
    pairs = wanted_pairs(coords, settings)
    return _Part(hand.of_frames(angles.shape[:1], frames), pairs, angles, angles.clone(), frames, settings)


class TestDerivatives:
    @pytest.mark.parametrize("few", [True, False])
    def test_gradient_and_matrix(self, few):
        """Against automatic differentiation of the residuals, with contacts and all 45 angles."""
        source, target = character("right", 1), character("right", 2)
        angles = motion(2 if few else 12, seed=1) + 0.05
        coords = source.with_tbs(tbs_from_angles(motion(len(angles), seed=2))).semantic_matrix()
        settings = OptimizerSettings(contact_weight=100.0, contact_far=3.0, all_angles=True)
        part = part_of(target, angles, coords, settings)
        seen, frames, axes = part._posed(angles)
        value, gradient, matrix = linearised(seen, frames, axes, part.per_joint, part.pairs)

        def residuals(angles):
            seen, frames, _ = part._posed(angles)
            points = seen.permute(2, 0, 1)
            apart = points[:, None] - points[:, :20, None]  # (F, 20, 29, 3)
            local = torch.einsum("icdf,fijc->fijd", frames, apart)
            direction = local / (local.square().sum(-1, keepdim=True) + settings.softening**2).sqrt()
            wanted = part.pairs.unit.permute(3, 1, 2, 0)
            semantic = (direction - wanted) * part.pairs.weight.permute(2, 0, 1).sqrt()[..., None]
            gap = local[:, 3::4, 3:20:4] - part.pairs.coords.permute(3, 1, 2, 0)
            contact = gap * part.pairs.contact.permute(2, 0, 1).sqrt()[..., None]
            return torch.cat([semantic.flatten(1), contact.flatten(1)], dim=1)

        slope = torch.autograd.functional.jacobian(lambda a: residuals(a).sum(0), angles).transpose(0, 1).flatten(2)
        right = residuals(angles)
        expected = (slope.mT @ right[..., None])[..., 0]
        assert (gradient.T - expected).abs().max() < 1e-10 * expected.abs().max()
        expected = slope.mT @ slope
        assert (matrix.permute(2, 0, 1) - expected).abs().max() < 1e-10 * expected.abs().max()
        assert torch.equal(value, objective(seen, frames, part.pairs))
        # The value has a constant of its own, which the source's softened directions leave.
        constant = value - 0.5 * right.square().sum(-1)
        weighted = part.pairs.weight * (1 - part.pairs.unit.square().sum(0))
        assert torch.allclose(constant, 0.5 * weighted.sum((0, 1)), atol=1e-9)

    def test_mano_skeleton_is_near_enough(self, mano):
        """Joints regressed from a surface move a little otherwise; the gradient must still point the same way."""
        angles = motion(2, seed=1).requires_grad_()
        coords = character("right", 1).with_tbs(tbs_from_angles(motion(2, seed=2))).semantic_matrix()
        settings = OptimizerSettings(all_angles=True)
        part = part_of(mano("right", 3), angles.detach(), coords, settings)
        seen, frames, _ = part._posed(angles)
        (expected,) = torch.autograd.grad(objective(seen, frames, part.pairs).sum(), angles)
        _, found, _ = part._evaluate(angles.detach())
        assert torch.nn.functional.cosine_similarity(found, expected.flatten(1)).min() > 0.98


class TestSearch:
    @pytest.mark.parametrize("dtype", TYPES)
    @pytest.mark.parametrize("contact_weight", [0.0, 1000.0])
    def test_same_hand_is_the_identity(self, hands, dtype, contact_weight):
        _, hand = hands(dtype)
        start = tbs_from_angles(motion(2, 9, dtype=dtype))
        posed = hand.with_tbs(start)
        settings = OptimizerSettings(contact_weight=contact_weight, smoothness=100.0)
        found = optimise(hand, posed.semantic_matrix(), start, settings)
        turned = (found.tbs - start).flatten(-2).norm(dim=-1) / 2**0.5  # radians, for small turns
        assert turned.rad2deg().max() < (0.05 if dtype == torch.float32 else 1e-4)

    def test_start_beyond_the_limits(self, hands):
        """It comes back unchanged where that is asked, near 90° of bend too, and within the limits otherwise."""
        _, hand = hands()
        angles = motion(1, 6)
        angles[..., PINKY, 0, :] = torch.tensor([0.5, 1.5, -0.8])
        start = tbs_from_angles(angles)
        coords = hand.with_tbs(start).semantic_matrix()
        kept, strict = (
            optimise(hand, coords, start, OptimizerSettings(keep_start=keep, smoothness=100.0, contact_weight=100.0))
            for keep in (True, False)
        )
        assert (kept.tbs - start).abs().max() < 1e-6
        assert (strict.tbs - start).abs().max() > 0.01

    @pytest.mark.parametrize("dtype", TYPES)
    def test_better_than_the_copy(self, hands, dtype):
        source, target = hands(dtype)
        start = tbs_from_angles(motion(2, 8, dtype=dtype))
        coords = source.with_tbs(start).semantic_matrix()
        copied = cosines(coords, target.with_tbs(start))
        found = cosines(coords, optimise(target, coords, start))
        assert (found[0] > copied[0] + 0.002).all()
        assert (found[0] + 0.5 * found[1] > copied[0] + 0.5 * copied[1]).all()
        assert (found[0] <= 0.95 + 1e-6).all()

    def test_reaches_what_a_slow_search_reaches(self, hands):
        """L-BFGS through automatic differentiation on the same objective, from the same start."""
        source, target = hands()
        start = motion(2, seed=3)
        coords = source.with_tbs(tbs_from_angles(start)).semantic_matrix()
        settings = OptimizerSettings.converged(iterations=40, tolerance=1e-7)
        found = optimise(target, coords, tbs_from_angles(start), settings)

        part = part_of(target, start, coords, settings)
        low, high = settings.limits.like(start)
        free = torch.zeros_like(start).requires_grad_()
        search = torch.optim.LBFGS([free], max_iter=400, line_search_fn="strong_wolfe", tolerance_change=1e-12)

        def loss(angles):
            seen, frames, _ = part._posed(angles)
            value = objective(seen, frames, part.pairs)
            return value + 0.5 * (part.stay * (angles - start).flatten(1).square()).sum(-1)

        def within(free):
            # A smooth way into the limits that begins at the start.
            share = (start - low) / (high - low)
            return low + (high - low) * torch.sigmoid(torch.logit(share) + free * 4)

        def closure():
            search.zero_grad()
            total = loss(within(free)).sum()
            total.backward()
            return total

        search.step(closure)
        best = settings.limits.nearest_angles(found.tbs)
        # 0.04 is 1e-4 of S_finger: the skeleton's derivatives stop that near the optimum of a MANO hand.
        assert (loss(best) <= loss(within(free)).detach() + 0.04).all()

    def test_limits_are_kept_exactly(self, hands):
        source, target = hands(torch.float32)
        narrow = JointLimits(
            finger_bend=((0.2, 0.7),) * 3, thumb_bend=((-0.1, 0.3),) * 3, finger_splay=((-0.1, 0.1),) * 3
        )
        start = tbs_from_angles(motion(1, 12, dtype=torch.float32))
        coords = source.with_tbs(start).semantic_matrix()
        for smoothness in (0.0, 10.0):
            settings = OptimizerSettings(limits=narrow, all_angles=True, smoothness=smoothness)
            found = optimise(target, coords, start, settings)
            angles = narrow.nearest_angles(found.tbs.double())
            assert (tbs_from_angles(angles) - found.tbs).abs().max() < 1e-5

    def test_contacts_close(self, hands):
        """Thumb and index of the source touch; copied to other proportions they do not."""
        source, target = hands()
        touch = pinch(source)
        start = tbs_from_angles(touch)
        coords = source.with_tbs(start).semantic_matrix()
        tips = [TIPS[THUMB], TIPS[3]]
        assert coords[0][..., TIPS[THUMB] - 1, TIPS[3] - 1, :].norm(dim=-1).max() < 0.02

        def gap(posed):
            return ((posed.joints[..., tips[0], :] - posed.joints[..., tips[1], :]).norm(dim=-1)) / posed.palm_length

        without = optimise(target, coords, start, OptimizerSettings(iterations=20))
        found = optimise(target, coords, start, OptimizerSettings(iterations=20, contact_weight=1000.0))
        assert gap(target.with_tbs(start)).min() > 0.05
        assert gap(found).max() <= 0.02
        assert (cosines(coords, found)[0] >= cosines(coords, without)[0] - 0.005).all()

    def test_smoothness_lowers_jerk(self, hands):
        source, target = hands()
        start = tbs_from_angles(motion(1, 60))
        shaken = tbs_from_angles(motion(1, 60) + 0.01 * torch.randn(1, 60, 5, 3, 3, generator=seeded()))
        coords = source.with_tbs(shaken).semantic_matrix()

        def jerk(settings):
            return optimise(target, coords, start, settings).joints.diff(n=3, dim=1).norm(dim=-1).mean()

        rough, smooth = (jerk(OptimizerSettings(smoothness=weight)) for weight in (0.0, 1000.0))
        assert smooth < 0.5 * rough

    def test_rate_of_the_frames_counts(self):
        """At 5 frames/s neighbours are far apart, and hardly tied."""
        source, target = character("right", 1), character("right", 2)
        start = tbs_from_angles(motion(1, 20))
        coords = source.with_tbs(start).semantic_matrix()
        free, slow, fast = (
            optimise(target, coords, start, OptimizerSettings(smoothness=weight, frame_rate=rate)).joints
            for weight, rate in ((0.0, 60.0), (100.0, 5.0), (100.0, 60.0))
        )
        assert (slow - free).norm() < 0.5 * (fast - free).norm()

    @pytest.mark.parametrize("smoothness", [0.0, 10.0])
    def test_batch_is_one_by_one(self, hands, smoothness, monkeypatch):
        """Neither other sequences nor the size of chunks make a difference."""
        source, target = hands()
        start = tbs_from_angles(motion(3, 8))
        coords = source.with_tbs(start).semantic_matrix()
        settings = OptimizerSettings(smoothness=smoothness, contact_weight=500.0, tolerance=0.0)
        together = optimise(target, coords, start, settings).joints
        monkeypatch.setattr("model.optimizer.search.CHUNK", 5)
        for number in range(3):
            one = slice(number, number + 1)
            alone = optimise(target, coords.at(one), start[one], settings).joints
            assert (alone[0] - together[number]).abs().max() < 1e-6 * together.abs().max()

    def test_hands_of_their_own(self):
        """A hand for every sequence, or for every frame."""
        offsets = plausible_offsets(3, 1, seed=4)
        across = torch.tensor([0.0, 0.0, 1.0]).double().expand(3, 1, 5, 3)
        start = tbs_from_angles(motion(3, 4))
        coords = character("right", 1).with_tbs(start).semantic_matrix()
        each = optimise(offset_hand(offsets, finger_axes(offsets, across), "right"), coords, start).joints
        offsets, across = offsets.expand(3, 4, -1, -1), across.expand(3, 4, -1, -1)
        frames = optimise(offset_hand(offsets, finger_axes(offsets, across), "right"), coords, start).joints
        assert torch.allclose(each, frames, atol=1e-9)

    def test_refines_a_given_pose(self, hands):
        source, target = hands()
        coords = source.with_tbs(tbs_from_angles(motion(1, 6))).semantic_matrix()
        begin = target.with_tbs(tbs_from_angles(motion(1, 6, seed=7)))
        scores = [
            cosines(coords, optimise(target, coords, begin.tbs, OptimizerSettings(iterations=n)))[0]
            for n in (0, 1, 3, 12)
        ]
        assert scores[0] < scores[1] < scores[3]
        assert scores[2] <= scores[3] + 1e-3


class TestMissingJoints:
    def test_do_not_count(self):
        source, target = character("right", 1), character("right", 2)
        start = tbs_from_angles(motion(1, 5))
        finger, palm = matrix = source.with_tbs(start).semantic_matrix().map(torch.clone)
        mask = torch.ones(21, dtype=torch.bool)
        mask[1 + 4 * PINKY : 5 + 4 * PINKY] = False
        settings = OptimizerSettings(contact_weight=100.0, contact_far=2.0)
        expected = optimise(target, matrix, start, settings, present=mask)
        gone = slice(4 * PINKY, 4 * PINKY + 4)
        finger[..., gone, :, :], finger[..., :, gone, :], palm[..., gone, :, :] = torch.nan, torch.nan, torch.nan
        palm[..., [PINKY, PINKY + 4], :] = torch.nan
        found = optimise(target, matrix, start, settings, present=mask)
        assert torch.equal(found.joints, expected.joints)
        assert (found.tbs[..., PINKY, :, :, :] - start[..., PINKY, :, :, :]).abs().max() < 1e-9
        others = [0, 1, 3, 4]
        assert (found.tbs[..., others, :, :, :] - start[..., others, :, :, :]).abs().max() > 1e-3


class TestTestLoop:
    def test_beside_the_network(self, golden, mano_models, mano_axes):
        features = loss_features(golden)
        model = ASRN(**SMALL, smplx_model_path=str(mano_models), mano_axis_path=str(mano_axes))
        model.log_dict = lambda *args, **kwargs: None
        batch = pair(features["mixamo"], features["mano"])
        model.test_step(batch, 0)
        assert set(model.test_records) == {"rotation_copy", "tbs_copy", "asrn"}


class TestErrors:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"palm_weight": -1.0}, "palm_weight"),
            ({"softening": 0.0}, "softening"),
            ({"contact_near": 0.2}, "contact_near"),
            ({"iterations": -1}, "iterations"),
            ({"smoothness": float("nan")}, "smoothness"),
        ],
    )
    def test_settings(self, changes, message):
        with pytest.raises(ValueError, match=message):
            OptimizerSettings(**changes)

    def test_shapes_and_numbers(self):
        hand = character("right", 1)
        start = tbs_from_angles(motion(1, 3))
        matrix = hand.with_tbs(start).semantic_matrix()
        with pytest.raises(ValueError, match="matrix.palm"):
            optimise(hand, matrix._replace(palm=matrix.palm[:, :2]), start)
        with pytest.raises(ValueError, match="matrix.finger.*NaN"):
            optimise(hand, matrix._replace(finger=matrix.finger * torch.nan), start)
        with pytest.raises(ValueError, match="present"):
            optimise(hand, matrix, start, present=torch.ones(20, dtype=torch.bool))


def seeded():
    return torch.Generator().manual_seed(0)


def pinch(hand):
    """Angles ``(1, 1, 5, 3, 3)`` with which thumb and index of a hand touch, found by a plain search."""
    low, high = JointLimits().like(torch.zeros(1, dtype=torch.float64))
    middle, half = (low + high) / 2, (high - low) / 2
    free = torch.zeros(1, 1, 5, 3, 3, dtype=torch.float64).requires_grad_()
    search = torch.optim.LBFGS([free], max_iter=300, line_search_fn="strong_wolfe")

    def closure():
        search.zero_grad()
        posed = hand.with_tbs(tbs_from_angles(middle + half * free.tanh()))
        gap = (posed.joints[..., TIPS[THUMB], :] - posed.joints[..., TIPS[3], :]) / posed.palm_length[..., None]
        loss = gap.square().sum() + 1e-5 * free.square().sum()
        loss.backward()
        return loss

    search.step(closure)
    return (middle + half * free.tanh()).detach()
