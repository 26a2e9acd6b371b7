"""Hands as pictures and films."""
