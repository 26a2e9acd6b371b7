"""A source on a target, worked out in pieces."""

import numpy as np
import pytest
import torch

from model.measures import measure
from model.semantics import SourceDirections
from model.topology import TIPS
from run.viewing.take import PIECE, RATE, SOURCE, SourceTake, Take


@pytest.fixture(scope="module")
def source(shelf):
    return SourceTake(shelf.hand("HandLong0"), shelf.motion("HandLong0", "clip"), "clip")


@pytest.fixture(scope="module")
def take(shelf, source, methods):
    """All of a short motion, from a character to a subject."""
    target = shelf.hand("ManoShort0")
    take = Take(source, target, methods, target.palm_length)
    assert take.n_pieces >= 3
    for column in take.columns:
        for number in range(take.n_pieces):
            take.work_out(column, number, surface=True)
    return take


def joined(take, column, part="local"):
    return torch.cat([getattr(take._pieces[column, number], part) for number in range(take.n_pieces)])


@pytest.mark.parametrize("column", ["rotation_copy", "tbs_copy", "asrn", "optimizer_contacts"])
def test_pieces_are_the_whole(take, column):
    whole = take.methods.pose(column, take.target, take.source.shown, take.present)
    assert torch.allclose(joined(take, column), whole.local, atol=5e-3 if "optimizer" in column else 1e-5)


def test_figures_are_those_of_the_metrics(take):
    coords = take.source.shown.semantic_matrix
    posed = take.methods.pose("tbs_copy", take.target, take.source.shown, take.present)
    found = measure(SourceDirections(coords.at(None)), posed[None]).by_window()
    assert int(found["pinch_pairs"]) > 0
    means = take.means("tbs_copy")
    assert means[:2] == pytest.approx((float(found["S_finger"]), float(found["S_palm"])), abs=1e-5)
    touching = take.source.contacts.sum(-1)
    weighted = (joined(take, "tbs_copy", "gap").nan_to_num() * touching).sum() / touching.sum()
    assert float(weighted) == pytest.approx(float(found["pinch_error"]), abs=1e-5)
    assert take.means(SOURCE)[0] == pytest.approx(0.95, abs=1e-4)


def test_the_optimiser_is_best(take):
    means = {column: take.means(column) for column in take.columns}
    assert means["optimizer"][0] > means["tbs_copy"][0] > means["rotation_copy"][0]
    assert means["optimizer_contacts"][2] < means["tbs_copy"][2]


def test_a_moment_is_the_posed_surface(take):
    frame = PIECE + 5
    moment = take.moment("tbs_copy", frame / RATE)
    posed = take.target.shaped.with_local_rotations(joined(take, "tbs_copy")[frame : frame + 1])
    expected = take.target.vertices(posed)[0] / take.target.palm_length
    assert np.allclose(moment.vertices, expected, atol=1e-5)
    assert np.allclose(moment.tips, posed.joints[0, list(TIPS)] / take.target.palm_length, atol=1e-5)


def test_between_frames_surfaces_are_blended_also_across_pieces(take):
    for frame in (3, PIECE - 1):
        before, after, half = (take.moment("asrn", (frame + part) / RATE) for part in (0, 1, 0.5))
        assert np.allclose(half.vertices, (before.vertices + after.vertices) / 2, atol=1e-5)
        assert np.allclose(half.tips, (before.tips + after.tips) / 2, atol=1e-5)


def test_touches_are_those_of_the_source(take):
    times = take.source.contact_times()
    assert times
    for time in times:
        own, copied = take.moment(SOURCE, time), take.moment("rotation_copy", time)
        assert own.touches and all(closed for *_, closed in own.touches)
        assert [pair[:2] for pair in own.touches] == [pair[:2] for pair in copied.touches]
        assert own.gap < 0.02 < copied.gap
    apart = int((~take.source.contacts.any(-1)).nonzero()[0])
    assert take.moment("asrn", apart / RATE).touches == () and np.isnan(take.moment("asrn", apart / RATE).gap)


def test_times_outside_are_the_ends(take):
    last = take.source.frames - 1
    assert np.array_equal(take.moment(SOURCE, -3.0).vertices, take.moment(SOURCE, 0.0).vertices)
    assert np.array_equal(take.moment(SOURCE, 1e9).vertices, take.moment(SOURCE, last / RATE).vertices)


def test_matrices(take):
    time = take.source.contact_times()[0]
    cosine = take.matrix("asrn", time, "cosine")
    assert cosine.shape == (20, 20) and np.isnan(np.diag(cosine)).all() and np.nanmax(cosine) <= 1 + 1e-5
    frame = round(time * RATE)
    assert np.nansum(cosine) / 400 == pytest.approx(float(joined(take, "asrn", "s_finger")[frame]), abs=1e-5)
    assert np.nanmin(take.matrix(SOURCE, time, "cosine")) == pytest.approx(1, abs=1e-5)
    assert np.abs(take.matrix(SOURCE, time, "difference")).max() < 1e-5
    assert take.matrix("asrn", time, "difference").max() > 0.05
    distance = take.matrix("asrn", time, "distance")
    assert np.allclose(distance, distance.T, atol=1e-5)


def test_what_is_not_known_is_not_shown(shelf, source, methods):
    target = shelf.hand("HandShort0")
    take = Take(source, target, methods, target.palm_length)
    assert take.moment("asrn", 0.0) is None and take.matrix("asrn", 0.0, "cosine") is None
    take.work_out("asrn", 0)
    assert take.ready("asrn", 0) and not take.ready("asrn", 0, surface=True)
    assert take.moment("asrn", 0.0) is not None and take.means("asrn") is None
    known = np.isfinite(take.s_finger("asrn"))
    assert known[:PIECE].all() and not known[PIECE:].any()
    # The neighbour of the last frame is not known: the frame itself is shown.
    assert take.moment("asrn", (PIECE - 0.4) / RATE) is not None


def test_surfaces_not_used_for_long_are_forgotten(shelf, source, methods, monkeypatch):
    monkeypatch.setattr("run.viewing.take._CACHE_BYTES", 1)
    target = shelf.hand("HandShort0")
    take = Take(source, target, methods, target.palm_length)
    for number in range(take.n_pieces):
        take.work_out("tbs_copy", number, surface=True)
    assert len(take._surfaces) == 2 and take.moment("tbs_copy", 0.0) is not None


def test_same_hand_in_and_out_is_the_identity(shelf, source, methods):
    hand = shelf.hand("HandLong0")
    take = Take(source, hand, methods, hand.palm_length)
    for column in ("rotation_copy", "tbs_copy", "optimizer"):
        take.work_out(column, 0)
        own = source.shown.local[:PIECE]
        turned = take._pieces[column, 0].local.transpose(-1, -2) @ own
        cos = (turned.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
        assert float(torch.rad2deg(cos.clamp(-1, 1).acos()).max()) < 0.5
