"""Artifacts in folders: what a stage made, written and read back bit for bit. No pickle; what is read is not trusted."""
