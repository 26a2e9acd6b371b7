"""Tensors to tensors: hand kinematics, the semantic matrix, networks, losses and metrics."""
