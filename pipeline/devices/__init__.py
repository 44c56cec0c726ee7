"""Devices that run a firmware or models: `resolve.py` picks the one for a target."""
