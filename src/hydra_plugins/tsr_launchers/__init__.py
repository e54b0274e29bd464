"""Hydra launchers of tsr; Hydra finds them here by itself."""
