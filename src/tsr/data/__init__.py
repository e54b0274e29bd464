"""Prompts, answers and constraints."""
