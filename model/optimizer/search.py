"""Retargeting without training: the angles that give a hand a source's semantic matrix, by damped least squares.

Whole sequences are solved at once. Per frame the objective of :mod:`model.optimizer.curvature` (one minus the cosines
of S_finger and S_palm, and the contacts that the source has) is minimised over joint angles within their limits by
Levenberg–Marquardt steps; a step is kept only if it lowers the frame's objective. A few Gauss–Newton
steps of all frames together then make what was *changed* of the start pose smooth over time
(:mod:`model.optimizer.smoothing`): the start, usually a copy of the source's twist-bend-splay rotations, brings the
source's own motion along, and the same hand in and out stays as it is.

It is the upper bound of every table, and refines the result of a network. See mathematics §9 for its ancestor
(:mod:`model.optimizer.published`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from model.flesh import Flesh, by_capsules, capsule_frames, part_gaps
from model.hands import PosedHand, ShapedHand
from model.kinematics import tbs_from_angles
from model.layout import frames_last
from model.limits import TWIST, turning_axes
from model.losses import finger_weights
from model.optimizer.curvature import Pairs, linearised, objective
from model.optimizer.kernel import solver
from model.optimizer.settings import OptimizerSettings
from model.optimizer.smoothing import smooth_step
from model.optimizer.touches import GIVES, STAGES, TouchTerms, moved_by
from model.semantics import SemanticMatrix, SourceDirections, palm_anchors, palm_length
from model.skin import SkinPoints
from model.topology import (
    BONES_PER_FINGER,
    JOINTS_PER_FINGER,
    N_ANCHORS,
    N_FINGER_JOINTS,
    N_FINGERS,
    N_JOINTS,
    PALM_ANCHORS,
    TIPS,
)
from model.touch import TouchGoals, ramp
from model.touch import touch_goals as goals_in_torch
from utils.cached import cached_property

_TIPS = [tip - 1 for tip in TIPS]
_LONGEST_STEP = 0.4  # radians: beyond it the linear picture means little
_DAMPING = 1e-3  # share of a diagonal element that is added to it at first
_DAMPING_RANGE = (1e-5, 1e3)
_LEAST_SOFT = 0.1

CHUNK = 128
"""Frames handled at once on a processor: their arrays stay in its cache."""


def optimise(
    hand: ShapedHand,
    matrix: SemanticMatrix,
    start: Float[Tensor, "*batch 5 3 3 3"],
    settings: OptimizerSettings | None = None,
    present: Bool[Tensor, "... 21"] | None = None,
    touches: TouchGoals | None = None,
) -> PosedHand:
    """Pose ``hand`` so that its semantic matrix points where a source's does.

    In single precision on a processor it is done by a compiled program (:mod:`model.optimizer.kernel`) if there is
    one; otherwise by what follows here, 20 to 40 times as slowly.

    Args:
        hand: the target; its leading dimensions broadcast to those of the poses, ``(..., time)``.
        matrix: the source's semantic matrix, ``(..., time, …)``.
        start: ``(..., time, 5, 3, 3, 3)`` twist-bend-splay rotations to begin with, in which what the objective does
            not determine stays: the source's own, or a network's result.
        settings: see :class:`OptimizerSettings`.
        present: ``(21,)``, or ``(batch, time or 1, 21)`` and the same throughout an item: true for joints that both
            hands have; the others do not count, and stay as they start. None: all.
        touches: the source's touches by flesh, ``(..., time, …)``, to be kept and not gone beyond; None: none.

    Returns:
        The hand in poses ``(..., time)``; every angle is within the limits.

    Raises:
        ValueError: shapes do not fit, or numbers are not finite.
    """
    settings = settings or OptimizerSettings()
    if present is not None and present.ndim > 1:
        return _optimise_items(hand, matrix, start, settings, present, touches)
    _check_shapes(matrix, start, present)
    batch = start.shape[:-4]
    # Inference mode spares each of many small operations its bookkeeping.
    with torch.inference_mode():
        read = settings.limits.angles if settings.keep_start else settings.limits.nearest_angles
        begin = read(start).reshape(-1, N_FINGERS, BONES_PER_FINGER, 3)
    matrix = matrix.flattened()
    if touches is not None:
        touches, settings = touches.flattened(), replace(settings, contact_weight=0.0)
    if solver.covers(hand, matrix, begin, present) and solver.ready(len(begin)):
        return solver.solve(hand, matrix, begin, batch, settings, present, touches)
    with torch.inference_mode():
        problem = _Problem(hand, batch, matrix, begin, settings, present, touches)
        angles, every = begin.clone(), torch.arange(len(begin), device=start.device)
        for frames in every.split(_chunk(start)):
            problem.part(frames, angles, touches=False).solve()
        busy = every[:0]
        if touches is not None:
            posed = hand.of_frames(batch, every).with_tbs(tbs_from_angles(angles))
            busy = every[~problem.idle(posed)]
        coupled = settings.smoothness > 0 and len(batch) > 0 and batch[-1] > 2
        for frames in busy.split(_chunk(start)) if len(busy) else ():
            problem.part(frames, angles).solve()
        parts = [problem.part(frames, angles) for frames in every.split(_chunk(start))] if coupled else []
        for _ in range(settings.coupled_steps if coupled else 0):
            _step_together(parts, angles, begin, batch[-1], settings)
        tbs = tbs_from_angles(angles).reshape(start.shape)
    with torch.no_grad():
        return hand.with_tbs(tbs.clone())  # what is made outside can be used with gradients again


def touch_goals(
    source: PosedHand,
    flesh: Flesh,
    target: Flesh,
    skin: SkinPoints | None = None,
    target_skin: SkinPoints | None = None,
) -> TouchGoals:
    """As :func:`model.touch.touch_goals`, by the compiled program where there is one."""
    tensors = source.joints, source.frames, flesh.ends, target.ends
    plain = all(each.dtype == torch.float32 and each.device.type == "cpu" for each in tensors)
    frames = source.joints.shape[:-2].numel()
    if plain and frames and solver.ready(frames):
        return solver.touch_goals(source, flesh, target, skin, target_skin)
    return goals_in_torch(source, flesh, target, skin, target_skin)


def _optimise_items(
    hand: ShapedHand,
    matrix: SemanticMatrix,
    start: Float[Tensor, "batch time 5 3 3 3"],
    settings: OptimizerSettings,
    present: Bool[Tensor, " batch #time 21"],
    touches: TouchGoals | None,
) -> PosedHand:
    """The same for items of different masks, those of one mask at once."""
    tbs = start.clone()
    masks, kinds = present[:, 0].unique(dim=0, return_inverse=True)
    for kind, mask in enumerate(masks):
        (items,) = (kinds == kind).nonzero(as_tuple=True)
        goals = None if touches is None else touches.of_items(items)
        tbs[items] = optimise(hand.of_items(items), matrix.at(items), start[items], settings, mask, goals).tbs
    return hand.with_tbs(tbs)


def _check_shapes(
    matrix: SemanticMatrix, start: Float[Tensor, "*batch 5 3 3 3"], present: Bool[Tensor, "21"] | None
) -> None:
    batch = start.shape[:-4]
    if present is not None and present.shape == (N_JOINTS,) and matrix.finger.shape[-3:-1] == (N_FINGER_JOINTS,) * 2:
        matrix = matrix.masked(present)  # what is missing may be anything
    expected = {
        "matrix.finger": (matrix.finger, (*batch, N_FINGER_JOINTS, N_FINGER_JOINTS, 3)),
        "matrix.palm": (matrix.palm, (*batch, N_FINGER_JOINTS, N_ANCHORS, 3)),
        "start": (start, (*batch, N_FINGERS, BONES_PER_FINGER, 3, 3)),
    }
    if present is not None:
        expected["present"] = (present, (N_JOINTS,))
    for name, (tensor, shape) in expected.items():
        if tensor.shape != shape:
            raise ValueError(f"`{name}` must have the shape {tuple(shape)}; got {tuple(tensor.shape)}")
        if name != "present" and not tensor.sum().isfinite() and not tensor.isfinite().all():
            raise ValueError(f"`{name}` holds NaN or infinite numbers; mask missing joints with `present`")


def _chunk(like: Tensor) -> int:
    """Frames handled at once: as many as stay in a processor's cache, and all that fit on a GPU."""
    return CHUNK if like.device.type == "cpu" else 64 * CHUNK


@dataclass(frozen=True)
class _Problem:
    """All frames: what is wanted, and where they start."""

    hand: ShapedHand
    batch: torch.Size
    matrix: SemanticMatrix  # (F, …)
    start: Float[Tensor, "frames 5 3 3"]
    settings: OptimizerSettings
    present: Bool[Tensor, "21"] | None
    touches: TouchGoals | None

    @cached_property
    def excess(self) -> Float[Tensor, "frames pairs"] | None:
        """``(F, pairs)`` by how much flesh tells gaps too large, as far as it is known."""
        return None if self.touches is None else torch.zeros_like(self.touches.gap)

    def idle(self, posed: PosedHand) -> Bool[Tensor, " frames"]:
        """Which frames ``(F,)`` have what they shall of touches in these poses ``(F,)``."""
        assert self.touches is not None and self.excess is not None
        goals = self.touches.of_frames(self.batch, torch.arange(len(self.start), device=self.start.device))
        self.excess[:] = goals.excess(posed)
        gap = by_capsules(part_gaps(goals.flesh.touches(posed).gap))
        return TouchTerms.of(goals, self.settings, self.present, self.excess).idle(gap)

    def part(self, frames: Int[Tensor, " some"], angles: Float[Tensor, "frames 5 3 3"], touches: bool = True) -> _Part:
        """The frames with these numbers; their angles are read from, and written to, ``angles (F, 5, 3, 3)``. What
        touches may be left out."""
        pairs = wanted_pairs(self.matrix.at(frames), self.settings, self.present)
        hand = self.hand.of_frames(self.batch, frames)
        goals = self.touches if touches else None
        goals = None if goals is None else goals.of_frames(self.batch, frames).to(angles)
        return _Part(hand, pairs, self.start, angles, frames, self.settings, goals, self.present, self.excess)


def _step_together(
    parts: list[_Part],
    angles: Float[Tensor, "frames 5 3 3"],
    begin: Float[Tensor, "frames 5 3 3"],
    time: int,
    settings: OptimizerSettings,
) -> None:
    """One Gauss–Newton step of all frames with their accelerations; ``angles (F, 5, 3, 3)`` are changed in place."""
    gradients, matrices, held = zip(*(part.quadratic() for part in parts), strict=True)
    unknowns = parts[0].unknowns
    low, high = (torch.cat([getattr(part, name) for part in parts]) for name in ("low", "high"))
    change = (angles - begin).flatten(1)[:, unknowns]
    step = smooth_step(
        torch.cat(matrices).unflatten(0, (-1, time)),
        torch.cat(gradients).unflatten(0, (-1, time)),
        change.unflatten(0, (-1, time)),
        torch.cat(held).unflatten(0, (-1, time)),
        settings.smoothness * (settings.frame_rate / 60) ** 4,
    ).flatten(0, 1)
    step = step.clamp(-_LONGEST_STEP, _LONGEST_STEP)
    flat = angles.view(len(angles), -1)
    flat[:, unknowns] = (flat[:, unknowns] + step).clamp(low, high)


def wanted_pairs(
    matrix: SemanticMatrix, settings: OptimizerSettings, present: Bool[Tensor, "21"] | None = None
) -> Pairs:
    """What is wanted of the pairs of joints and anchors, from a source's semantic matrix ``(F, …)``.

    Weights are those of the metrics, times the 400 cosines of S_finger.
    """
    seen = None
    if present is not None:
        present = present.to(matrix.finger.device)
        seen = _pair_mask(present)
    # Nothing is known of a missing joint, not even that its coordinates are numbers.
    matrix = matrix.masked(present)
    directions = SourceDirections(matrix)
    # Softened as the result's directions are, so that the source's own pose is without error; the weights make
    # up for it, so that the cosine of every pair counts as much as in the metrics.
    distance = frames_last(directions.distance, 2)
    soft = distance * (distance.square() + settings.softening**2).rsqrt()
    soft = soft if settings.keep_near else torch.ones_like(soft)
    unit = directions.unit * soft
    palm_share = settings.palm_weight * N_FINGER_JOINTS / N_ANCHORS
    weight = unit.new_ones(N_FINGER_JOINTS, N_FINGER_JOINTS + N_ANCHORS, 1)
    weight[:, N_FINGER_JOINTS:] = palm_share
    if settings.distance_weighted:
        near = finger_weights(directions.distance, True, settings.unweighted_share) * N_FINGER_JOINTS
        weight = weight.expand(-1, -1, unit.shape[-1]).clone()
        weight[:, :N_FINGER_JOINTS] = frames_last(near, 2)
    weight = weight * (1 - torch.eye(N_FINGER_JOINTS, weight.shape[1]).to(weight)).unsqueeze(-1)
    weight = weight / torch.where(soft > 0, soft.clamp_min(_LEAST_SOFT), 1)
    if seen is not None:
        weight = weight * seen.unsqueeze(-1)
    if not settings.contact_weight:
        return Pairs(unit, weight, None, None, settings.softening)
    coords = matrix.finger[:, _TIPS][:, :, _TIPS].permute(3, 1, 2, 0).contiguous()
    contact = settings.contact_weight * ramp(coords.norm(dim=0), settings.contact_near, settings.contact_far)
    contact = contact * (1 - torch.eye(N_FINGERS).to(contact)).unsqueeze(-1)
    if seen is not None:
        contact = contact * seen[_TIPS][:, _TIPS].unsqueeze(-1)
    return Pairs(unit, weight, coords, contact, settings.softening)


def _pair_mask(present: Bool[Tensor, "21"]) -> Bool[Tensor, "20 29"]:
    """``(20, 29)`` pairs of which both ends exist; an anchor exists if its finger's root does."""
    seen = torch.cat([present[1:], present[[root for root, _ in PALM_ANCHORS]]])
    return present[1:, None] & seen


class _Part:
    """Some frames, and how far their search has come."""

    def __init__(
        self,
        hand: ShapedHand,
        pairs: Pairs,
        start: Float[Tensor, "frames 5 3 3"],
        angles: Float[Tensor, "frames 5 3 3"],
        frames: Int[Tensor, " some"],
        settings: OptimizerSettings,
        touches: TouchGoals | None = None,
        present: Bool[Tensor, "21"] | None = None,
        excess: Float[Tensor, "frames pairs"] | None = None,
    ) -> None:
        self.hand, self.pairs, self.settings, self.frames = hand, pairs, settings, frames
        self.all_angles = angles
        moving = settings.moving
        self.per_joint = tuple(moving.sum(1).tolist())
        self.unknowns = moving.expand(N_FINGERS, -1, -1).flatten().nonzero()[:, 0].to(angles.device)
        self.angles = angles[frames]
        self.goals = touches
        self.flesh = None if touches is None else touches.flesh
        self.touches, self.all_excess = None, excess
        if touches is not None and excess is not None:
            self.touches = TouchTerms.of(touches, settings, present, excess[frames])
        self.moved = moved_by(self.unknowns)
        low, high = settings.limits.like(angles)
        self.stay = torch.where(self.unknowns % 3 == TWIST, settings.stay_twist, settings.stay_bend).to(angles)
        self.damping = angles.new_full((len(frames),), _DAMPING)
        self.state: tuple[Tensor, Tensor, Tensor]  # value, gradient, matrix
        self.begin = start[frames].flatten(1)[:, self.unknowns]
        # The start is within the limits, or may keep what it has beyond them.
        self.low = torch.minimum(low.flatten()[self.unknowns], self.begin)
        self.high = torch.maximum(high.flatten()[self.unknowns], self.begin)

    def solve(self) -> None:
        """All steps. Touches are closed in stages, after each of which skin says how wrong flesh was."""
        if self.touches is None or self.all_excess is None:
            self.iterate(self.settings.iterations)
            return
        for give, steps in zip(GIVES, STAGES, strict=True):
            self._look(give)
            self.damping.fill_(_DAMPING)
            self.iterate(steps)
        self._look(GIVES[-1])
        self.all_excess[self.frames] = self.touches.excess.T

    def _look(self, give: float) -> None:
        """See by the skin, with the angles as they are, how wrong flesh is."""
        assert self.touches is not None and self.goals is not None
        excess = self.goals.excess(self.hand.with_tbs(tbs_from_angles(self.angles)))
        self.touches = replace(self.touches, give=give, excess=frames_last(excess, 1))

    def iterate(self, iterations: int) -> None:
        """Take steps, and write the angles back."""
        self.state = self._evaluate(self.angles)
        for iteration in range(iterations):
            step, unknown = self._step()
            trial = self.angles.flatten(1).clone()
            trial[:, self.unknowns] = (unknown + step).clamp(self.low, self.high)
            trial = trial.view_as(self.angles)
            if iteration == iterations - 1:  # nothing follows that needs the derivatives
                value = self._value(trial)
                better = self._total(value, trial) <= self._total(self.state[0], self.angles)
                self.angles = torch.where(better[:, None, None, None], trial, self.angles)
                break
            state = self._evaluate(trial)
            better = self._total(state[0], trial) <= self._total(self.state[0], self.angles)
            if better.all():
                self.angles, self.state = trial, state
            else:
                self.angles, value, gradient, matrix = (
                    torch.where(better.view(-1, *[1] * (new.ndim - 1)), new, old)
                    for new, old in zip((trial, *state), (self.angles, *self.state), strict=True)
                )
                self.state = value, gradient, matrix
            self.damping = torch.where(better, self.damping * 0.25, self.damping * 8).clamp(*_DAMPING_RANGE)
            if step.abs().max() < self.settings.tolerance:
                break
        self.all_angles[self.frames] = self.angles

    def quadratic(
        self,
    ) -> tuple[Float[Tensor, "some unknowns"], Float[Tensor, "some unknowns unknowns"], Bool[Tensor, "some unknowns"]]:
        """Gradient ``(n, U)`` and matrix ``(n, U, U)`` at the angles as they are, and which ``(n, U)`` are held."""
        self.angles = self.all_angles[self.frames]
        if self.touches is not None:
            self._look(GIVES[-1])
        self.state = self._evaluate(self.angles)
        gradient, held, _ = self._pulled()
        matrix = self.state[2]
        matrix.diagonal(dim1=-2, dim2=-1).add_(self.stay)
        return gradient, matrix, held

    def _total(self, value: Float[Tensor, " some"], angles: Float[Tensor, "some 5 3 3"]) -> Float[Tensor, " some"]:
        away = angles.flatten(1)[:, self.unknowns] - self.begin
        return value + 0.5 * (self.stay * away.square()).sum(-1)

    def _pulled(
        self,
    ) -> tuple[Float[Tensor, "some unknowns"], Bool[Tensor, "some unknowns"], Float[Tensor, "some unknowns"]]:
        """The gradient ``(n, U)`` with the pull to the start, which angles their limits hold, and the angles."""
        unknown = self.angles.flatten(1)[:, self.unknowns]
        gradient = self.state[1] + self.stay * (unknown - self.begin)
        # Angles at a limit that would be pushed beyond it stay there, and the others take over.
        held = ((unknown <= self.low) & (gradient > 0)) | ((unknown >= self.high) & (gradient < 0))
        return gradient, held, unknown

    def _step(self) -> tuple[Float[Tensor, "some unknowns"], Float[Tensor, "some unknowns"]]:
        """The damped Gauss–Newton step ``(n, U)``, and the angles ``(n, U)`` it starts from."""
        gradient, held, unknown = self._pulled()
        matrix = self.state[2]
        free = (~held).to(gradient)
        diagonal = matrix.diagonal(dim1=-2, dim2=-1)
        matrix = matrix * free.unsqueeze(-1) * free.unsqueeze(-2)
        more = torch.where(held, 1.0, self.stay + self.damping[:, None] * (diagonal + 1))
        matrix.diagonal(dim1=-2, dim2=-1).add_(more)
        factor, _ = torch.linalg.cholesky_ex(matrix)
        step = torch.cholesky_solve((-gradient * free).unsqueeze(-1), factor)[..., 0]
        step = torch.where(step.isfinite(), step, 0)  # a matrix that rounding made indefinite: more damping
        longest = step.abs().amax(-1, keepdim=True).clamp_min(_LONGEST_STEP)
        return step * (_LONGEST_STEP / longest), unknown

    def _evaluate(
        self, angles: Float[Tensor, "some 5 3 3"]
    ) -> tuple[Float[Tensor, " some"], Float[Tensor, "some unknowns"], Float[Tensor, "some unknowns unknowns"]]:
        """Value ``(n,)``, gradient ``(n, U)`` and matrix ``(n, U, U)`` of the semantic objective."""
        posed = self.hand.with_tbs(tbs_from_angles(angles))
        seen, frames, axes = self._seen(posed, angles)
        value, gradient, matrix = linearised(seen, frames, axes, self.per_joint, self.pairs)
        gradient = gradient.mT.contiguous()
        matrix = matrix.flatten(0, 1).mT.contiguous().unflatten(1, matrix.shape[:2])
        if self.touches is not None:
            centres = seen[self.unknowns // 9 * JOINTS_PER_FINGER + self.unknowns % 9 // 3]
            of_touch = self.touches.linearised(*self._capsules(posed), axes, centres, self.moved)
            value, gradient, matrix = value + of_touch[0], gradient + of_touch[1], matrix + of_touch[2]
        return value, gradient, matrix

    def _value(self, angles: Float[Tensor, "some 5 3 3"]) -> Float[Tensor, " some"]:
        posed = self.hand.with_tbs(tbs_from_angles(angles))
        value = objective(*self._seen(posed, angles)[:2], self.pairs)
        return value if self.touches is None else value + self.touches.value(*self._capsules(posed))

    def _capsules(self, posed: PosedHand) -> tuple[Float[Tensor, "19 2 3 some"], Float[Tensor, "19 3 3 some"]]:
        """Ends and frames of the capsules of flesh, frames last."""
        assert self.flesh is not None
        ends, frames = self.flesh.placed(posed), capsule_frames(posed)
        return frames_last(ends, 3), frames_last(frames.expand(*ends.shape[:-3], -1, -1, -1), 3)

    def _posed(
        self, angles: Float[Tensor, "some 5 3 3"]
    ) -> tuple[Float[Tensor, "29 3 some"], Float[Tensor, "20 3 3 some"], Float[Tensor, "unknowns 3 some"]]:
        """The same as `_seen`, of angles."""
        return self._seen(self.hand.with_tbs(tbs_from_angles(angles)), angles)

    def _seen(
        self, posed: PosedHand, angles: Float[Tensor, "some 5 3 3"]
    ) -> tuple[Float[Tensor, "29 3 some"], Float[Tensor, "20 3 3 some"], Float[Tensor, "unknowns 3 some"]]:
        """Points, frames and turning axes, frames last; see :func:`model.optimizer.curvature.linearised`."""
        joints = posed.joints / palm_length(posed.joints)[..., None, None]
        seen = torch.cat([joints[..., 1:, :], palm_anchors(joints)], dim=-2)
        rotating = posed.frames.unflatten(-3, (N_FINGERS, -1))[..., :BONES_PER_FINGER, :, :]
        axes = turning_axes(rotating, angles).transpose(-1, -2).flatten(-4, -2)[:, self.unknowns]
        return frames_last(seen, 2), frames_last(posed.frames, 3), frames_last(axes, 2)
