"""Renders plans, fits and catalog records as text, JSON and pictures, each with its sources.

Text is drawn with rich, pictures with matplotlib; both are imported by the module that draws, not here.
"""
