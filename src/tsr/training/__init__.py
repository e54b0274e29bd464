"""Trainings: TRL does the work."""
