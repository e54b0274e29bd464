"""Ablations of self-rewarding language models."""
