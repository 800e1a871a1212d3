"""Signed statements of what was run on which stack: made from a run's evidence, checked offline."""
