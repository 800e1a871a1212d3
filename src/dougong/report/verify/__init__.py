"""Runs of the operator suite as text, JSON, JUnit XML and one page."""
