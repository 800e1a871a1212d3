"""Public test doubles and batteries for outsiders: invented chips, systems and models; what an adapter must keep."""

from dougong.testing.check_engine import check_engine
from dougong.testing.records import Shelf, dense_model, figure, moe_model, tiny_chip, tiny_system

__all__ = ["Shelf", "check_engine", "dense_model", "figure", "moe_model", "tiny_chip", "tiny_system"]
