"""Readings of finished records: metrics, tables."""
