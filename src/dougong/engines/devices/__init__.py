"""Which chips, drivers and stacks are on this machine, found without importing any vendor's package here."""

from dougong.engines.devices.look import look
from dougong.engines.devices.records import Device, Host, Machine, Stack, Tool

__all__ = ["Device", "Host", "Machine", "Stack", "Tool", "look"]
