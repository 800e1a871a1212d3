"""How to run an operator on a device: the port, the float64 reference and one adapter per stack."""

from dougong.backends.port import Answer, Array, Backend, Call, Refused, Unsupported

__all__ = ["Answer", "Array", "Backend", "Call", "Refused", "Unsupported"]
