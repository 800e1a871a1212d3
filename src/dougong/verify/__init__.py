"""Conformance of operators: cases, an oracle in float64, derived error bounds, verdicts."""
