"""A pinch on one hand, and what becomes of it on another: by a copy of its angles, and by its meaning."""

import torch

import semantics2hands as s2h

hands = s2h.OpenHands.load()
short, long = (hands.character_hand(name) for name in ("HandShort0", "HandLong0"))

# Twist, bend and splay of three joints of middle, ring, pinky, index and thumb, radians. Nothing yet touches.
angles = torch.zeros(1, 5, 3, 3, dtype=torch.float64)
angles[0, 3, :, 1] = torch.tensor([0.7, 0.9, 0.5])  # the index bends,
angles[0, 4, :, 1] = torch.tensor([0.2, 0.3, 0.5])  # and so does the thumb
source = short.with_tbs(s2h.tbs_from_angles(angles))

# The meaning of a pose: where every joint sees all other joints, and the palm, from its own anatomical frame.
meaning = source.semantic_matrix()
print("what 20 joints see of 20 joints:", tuple(meaning.finger.shape), "and of the palm:", tuple(meaning.palm.shape))

results = {
    "copied angles": long.with_tbs(source.tbs),
    "optimised": s2h.optimise(long, meaning, source.tbs),
}
for name, result in results.items():
    cosines = torch.nn.functional.cosine_similarity(result.semantic_matrix().finger, meaning.finger, dim=-1)
    print(f"{name}: S_finger {cosines.mean():.4f} of at most 0.95")
