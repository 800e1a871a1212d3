"""Dougong joins open-weight models, chips and infrastructure into one chain: plan, verify, serve, measure.

Start reading at :mod:`dougong.plan`; the walk of a request is drawn in ``ARCHITECTURE.md``.
"""

__version__ = "0.1.0"
