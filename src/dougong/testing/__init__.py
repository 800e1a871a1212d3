"""Public test doubles for outsiders: small invented chips, systems and models, and a catalog that holds them."""

from dougong.testing.records import Shelf, dense_model, figure, moe_model, tiny_chip, tiny_system

__all__ = ["Shelf", "dense_model", "figure", "moe_model", "tiny_chip", "tiny_system"]
