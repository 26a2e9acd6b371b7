"""Hands without some joints: nothing that is missing is seen, and what remains counts as if it were all."""

from dataclasses import replace

import pytest
import torch

from model import presence
from model.asrn import ASRN
from model.batch import Source, static_features
from model.dm import DM
from model.hands import offset_hand
from model.kinematics import rest_pose
from model.losses import distance_term, finger_weights, unit_rows
from model.measures import measure
from model.semantics import SourceDirections, pairwise_distances
from tests.helpers import SMALL, assert_close, loss_features, pair, plausible_offsets, rotations, set_weights

PINKY_JOINTS = [9, 10, 11, 12]
KEPT = [i for i in range(20) if i + 1 not in PINKY_JOINTS]
KEPT_ANCHORS = [0, 1, 3, 4, 5, 7, 8]


def without(*joints: int, batch=()) -> torch.Tensor:
    present = torch.ones(*batch, 21, dtype=torch.bool)
    present[..., list(joints)] = False
    return present


def posed(seed: int):
    offsets, axes = plausible_offsets(3, 1, seed=seed), rotations(3, 1, 5, 4, seed=seed)
    return offset_hand(offsets, axes, "right").with_tbs(rotations(3, 4, 5, 3, seed=seed + 1, angle=0.8))


class TestMetrics:
    def test_similarity_is_that_of_the_remaining_joints(self):
        source, result = posed(1), posed(5)
        present = without(*PINKY_JOINTS, batch=(3, 1))
        finger, palm = SourceDirections(source.semantic_matrix()).cosines(result.joints, result.frames)
        directions = SourceDirections(source.semantic_matrix())
        found = measure(directions, result, present).by_window()
        assert_close(found["S_finger"], finger[..., KEPT, :][..., KEPT].flatten(1).mean(1), 1e-12)
        assert_close(found["S_palm"], palm[..., KEPT, :][..., KEPT_ANCHORS].flatten(1).mean(1), 1e-12)
        found = measure(directions, result, present, queries=[0, 9, 14], anchors=[2, 3]).by_window()
        assert_close(found["S_finger"], finger[..., [0, 14], :][..., KEPT].flatten(1).mean(1), 1e-12)
        assert_close(found["S_palm"], palm[..., KEPT, :][..., [3]].flatten(1).mean(1), 1e-12)

    def test_pinches_of_missing_fingers_do_not_count(self):
        matrix, result = posed(1).semantic_matrix().map(torch.clone), posed(5)
        coords = matrix.finger
        coords[..., 19, 15, :] = coords[..., 15, 19, :] = 0  # thumb and index touch
        expected = measure(SourceDirections(matrix), result).by_window()
        coords[..., 11, :, :] = coords[..., :, 11, :] = 0  # as the pinky's would, were they looked at
        found = measure(SourceDirections(matrix), result, without(*PINKY_JOINTS, batch=(3, 1))).by_window()
        assert_close(found["pinch_error"], expected["pinch_error"], 1e-12)
        assert found["pinch_pairs"].tolist() == expected["pinch_pairs"].tolist() == [4, 4, 4]

    def test_joint_error(self):
        first, second = posed(1), posed(5)
        kept = [0, *(i + 1 for i in KEPT)]
        directions = SourceDirections(first.semantic_matrix())
        found = measure(directions, second, without(*PINKY_JOINTS, batch=(3, 1)), recorded=first.joints).squared_error
        expected = (first.joints - second.joints)[..., kept, :].square().sum(-1).mean(-1)
        assert_close(found, expected, 1e-12)

    def test_distances(self):
        source, result = posed(1).joints[..., 1:, :], posed(5).joints[..., 1:, :].clone().requires_grad_()
        present = presence.finger_joints(without(*PINKY_JOINTS, batch=(3, 1)))
        rows = unit_rows(pairwise_distances(source), present)
        found = distance_term(result, rows, present)
        expected = distance_term(result[..., KEPT, :], unit_rows(pairwise_distances(source[..., KEPT, :])))
        assert_close(found, expected, 1e-12)
        (gradient,) = torch.autograd.grad(found, result)
        assert gradient.isfinite().all()
        assert (gradient[..., 8:12, :] == 0).all() and (gradient[..., KEPT, :] != 0).any()

    @pytest.mark.parametrize("weighted", [False, True])
    def test_weights(self, weighted):
        distance = torch.rand(3, 4, 20, 20, dtype=torch.float64)
        present = presence.finger_joints(without(*PINKY_JOINTS, batch=(3, 1)))
        found = finger_weights(distance, weighted, 0.05, present)
        assert (found[..., 8:12] == 0).all()
        nearness = torch.softmax(-distance[..., KEPT], -1) + 0.05
        assert_close(found[..., KEPT], nearness if weighted else torch.full_like(nearness, 1 / 16), 1e-12)

    def test_items_are_averaged_each_over_what_counts(self):
        values = torch.tensor([[1.0, 3.0], [10.0, 20.0], [5.0, 5.0]])
        present = torch.tensor([[True, True], [False, True], [False, False]])
        assert presence.mean(values, present) == 11
        assert presence.item_means(values, present)[:2].tolist() == [2, 20]
        assert presence.item_means(values, present)[2].isnan()
        assert presence.mean(values) == values.mean()


class TestHands:
    @pytest.mark.parametrize("side", ["right", "left"])
    def test_the_palm_ends_at_the_outermost_finger(self, side):
        offsets, axes = plausible_offsets(3, side=side), rotations(3, 5, 4)
        bare = offsets * without(*PINKY_JOINTS).unsqueeze(-1)
        hand = offset_hand(bare, axes, side, without(*PINKY_JOINTS, batch=(3,)))
        ring = offsets.clone()
        ring[:, 9:13] = offsets[:, 5:9]
        assert_close(hand.rest, rest_pose(ring), 1e-12)
        assert torch.equal(presence.without_stand_ins(hand.offsets, hand.present), bare)

    @pytest.mark.parametrize(
        "missing",
        [[1, 2, 3, 4], [*range(5, 13)], [17, 18, 19, 20], [3], [3, 4], [20], [2, 3], [2, 3, 4], [13, 14, 15, 16, 7]],
    )
    def test_joints_that_exist_stay_where_they_are(self, missing):
        whole = plausible_offsets(2)
        kept = [joint for joint in range(21) if joint not in missing]
        at_rest = offset_hand(whole, rotations(2, 5, 4), "right").at_rest().joints
        stored = presence.without_stand_ins(whole, without(*missing, batch=(2,)))
        assert (stored[:, missing] == 0).all()
        hand = offset_hand(stored, rotations(2, 5, 4), "right", without(*missing, batch=(2,)))
        assert_close(hand.at_rest().joints[:, kept], at_rest[:, kept], 1e-12)
        assert_close(presence.without_stand_ins(hand.offsets, hand.present), stored, 1e-12)
        assert hand.rest.isfinite().all()

    def test_masks_differ_within_a_batch(self):
        offsets, axes = plausible_offsets(2), rotations(2, 5, 4)
        present = torch.stack([without(), without(*PINKY_JOINTS)])
        together = offset_hand(offsets, axes, "right", present)
        assert_close(together.rest[0], offset_hand(offsets, axes, "right").rest[0], 1e-12)
        assert_close(together.rest[1], offset_hand(offsets[1:], axes[1:], "right", present[1:]).rest[0], 1e-12)

    def test_missing_joints_do_not_turn_and_are_not_seen(self):
        hand = offset_hand(plausible_offsets(2), rotations(2, 5, 4), "right", without(3, *PINKY_JOINTS, batch=(2,)))
        result = hand.with_tbs(rotations(2, 5, 3, seed=2))
        eye = torch.eye(3, dtype=torch.float64)
        assert (result.local[:, 2] == eye).all() and (result.local[:, 0, 2] == eye).all()
        assert (result.tbs[:, 2] == eye).all() and (result.tbs[:, 0, 2] == eye).all()
        finger, palm = result.semantic_matrix()
        for missing in (2, 8, 9, 10, 11):
            assert (finger[:, missing] == 0).all() and (finger[:, :, missing] == 0).all()
            assert (palm[:, missing] == 0).all()
        assert (palm[:, :, [2, 6]] == 0).all() and (palm[:, 0, 3] != 0).any()


@pytest.fixture
def hands(golden):
    return loss_features(golden, torch.float64)


@pytest.fixture
def networks(mano_models, mano_axes):
    """Both methods and both kinds of anatomical loss."""

    def build(method, kind, representation="ortho6d"):
        model = method(
            **SMALL, anatomical_loss_type=kind, pose_repr=representation,
            smplx_model_path=str(mano_models), mano_axis_path=str(mano_axes),
        ).double()  # fmt: skip
        set_weights(model, seed=1)
        return model

    return build


def bare(features, missing):
    """The features with these joints missing, in every item, and their numbers spoilt."""
    spoilt = replace(features, rows=features.rows.clone())
    fingers = [joint - 1 for joint in missing]
    for part, index in (("finger_coords", (..., fingers, slice(None), slice(None))),
                        ("finger_coords", (..., slice(None), fingers, slice(None))),
                        ("palm_coords", (..., fingers, slice(None), slice(None)))):  # fmt: skip
        spoilt.part(part)[index] = 77.0
    if features.domain == "mixamo":
        spoilt.part("offsets")[..., missing, :] = 77.0
    return replace(spoilt, present=without(*missing, batch=features.batch_shape))


@pytest.mark.parametrize(("method", "kind"), [(ASRN, "euler"), (ASRN, "axis"), (DM, "euler"), (DM, "axis")])
@pytest.mark.parametrize("representation", ["ortho6d", "quaternion"])
@pytest.mark.parametrize("side_missing", ["mixamo", "mano", "both"])
def test_nothing_depends_on_missing_joints(hands, networks, method, kind, representation, side_missing):
    model = networks(method, kind, representation)
    groups = {
        name: bare(hands[name], PINKY_JOINTS) if side_missing in (name, "both") else hands[name]
        for name in ("mixamo", "mano")
    }
    for own, other in (("mixamo", "mano"), ("mano", "mixamo")):
        outputs = []
        forward = type(model).forward

        def keep(self, target, *sources, outputs=outputs, forward=forward):
            found = [output.detach().requires_grad_() for output in forward(self, target, *sources)]
            outputs[:] = found
            return found

        model.forward = keep.__get__(model)
        source = Source(groups[own])
        total, terms = model.losses(groups[own], source, Source(groups[other]))
        assert all(term.isfinite() for term in terms.values())
        gradients = torch.autograd.grad(total, outputs, allow_unused=True)
        lacks = groups[own].present is not None
        for gradient in gradients:
            assert gradient.isfinite().all()
            assert (gradient[..., 2, :, :] == 0).all() == lacks
            assert (gradient[..., 0, :, :] != 0).any()
        clean = {name: replace(group, rows=group.rows.clone()) for name, group in groups.items()}
        for group in clean.values():
            if group.present is not None:
                fingers = [joint - 1 for joint in PINKY_JOINTS]
                group.part("finger_coords")[..., fingers, :, :] = 0
                group.part("finger_coords")[..., :, fingers, :] = 0
                group.part("palm_coords")[..., fingers, :, :] = 0
                if group.domain == "mixamo":
                    group.part("offsets")[..., PINKY_JOINTS, :] = 0
        again, _ = model.losses(clean[own], Source(clean[own]), Source(clean[other]))
        assert_close(again, total, 1e-12)


def test_terms_are_those_of_the_remaining_joints(hands, networks):
    """The direction terms of a target without a pinky, against the formula over 16 joints and 7 anchors."""
    model = networks(ASRN, "euler")
    model.distance_weighted, model.lambda_rf_unweighted = True, 0.05
    target, other = bare(hands["mixamo"], PINKY_JOINTS), hands["mano"]
    shaped = model.shaped_hand(target)
    result = shaped.with_tbs(rotations(*target.batch_shape, 5, 3, angle=0.5))
    terms = model.semantic_terms(Source(other).shared_with(target), result)
    finger, palm = Source(other).directions.cosines(result.joints, result.frames)
    weights = torch.softmax(-other.semantic_matrix.finger.norm(dim=-1)[..., KEPT, :][..., KEPT], -1) + 0.05
    assert_close(terms["rf_dir"], -(weights * finger[..., KEPT, :][..., KEPT]).sum(-1).mean(), 1e-9)
    assert_close(terms["rp_dir"], -palm[..., KEPT, :][..., KEPT_ANCHORS].mean(), 1e-9)


def test_the_network_sees_zeros(hands, networks):
    source = Source(bare(hands["mixamo"], PINKY_JOINTS))
    seen = networks(ASRN, "euler").network_input(source)
    finger = seen[..., :1200].unflatten(-1, (20, 20, 3))
    assert (finger[..., 8:12, :, :] == 0).all() and (finger[..., :, 8:12, :] == 0).all()
    assert (networks(DM, "euler").network_input(source).unflatten(-1, (20, 20))[..., 8:12] == 0).all()
    static = static_features(source.hands)
    assert (static[:, 27:39] == 0).all() and (static[:, 63:].unflatten(-1, (5, 4, 9))[:, 2] == 0).all()
    kept = static_features(hands["mixamo"])
    assert_close(static[:, :27], kept[:, :27], 1e-12)


def test_a_complete_mask_changes_nothing(hands, networks):
    for method in (ASRN, DM):
        model = networks(method, "euler")
        masked = {name: replace(each, present=without(batch=each.batch_shape)) for name, each in hands.items()}
        plain, _ = model._step(pair(hands["mixamo"], hands["mano"]), semi=True)
        found, _ = model._step(pair(masked["mixamo"], masked["mano"]), semi=True)
        for domain, total in plain.items():
            assert_close(found[domain], total, 1e-9)


def test_the_whole_test_step(hands, networks):
    model = networks(ASRN, "euler")
    model.log_dict = lambda *_, **__: None
    model.test_step(pair(bare(hands["mixamo"], PINKY_JOINTS), hands["mano"]), 0)
    for directions in model.test_records.values():
        for metrics in directions.values():
            assert metrics["S_finger"].isfinite().all() and (metrics["S_finger"].abs() <= 1 - 1 / 16 + 1e-9).all()
    predicted = model.predict_step(pair(bare(hands["mixamo"], PINKY_JOINTS), hands["mano"]), 0)
    identity = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)
    assert torch.equal(predicted["mano2mixamo"]["local_rotations"][..., 9:13, :],
                       identity.expand(*hands["mixamo"].batch_shape, 4, 4))  # fmt: skip
