"""Accord: one list of fingerprints, owned equally by the agencies that fill it."""
