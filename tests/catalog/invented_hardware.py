"""Record files of an invented chip and system, for the tests of this folder."""

# One figure a line, as in a real file.
# ruff: noqa: E501
CHIP = """
schema = 1
id = "acme-x1"
name = "Acme X1"
vendor = "Acme"
unit = "package"
dies = 2
devices = 2
status = "announced"

[compute.bf16]
dense = { printed = "400 TFLOPS", per = "die", source = "sheet", at = "p. 2", grade = "datasheet" }
sparse_2_4 = { unknown = "the sheet gives none" }

[memory.hbm3]
capacity = { printed = "128 GB", read_as = "128 GiB", why = "the driver says so", per = "package", source = "sheet", grade = "datasheet" }
bandwidth = { printed = "3.2 TB/s", per = "package", source = "sheet", grade = "datasheet", rivals = [{ printed = "3 TB/s", per = "chip", source = "paper", grade = "paper" }] }

[links.scale_up]
name = "AcmeLink"
size = 16
topology = "switched"
bandwidth = { printed = "900 GB/s", direction = "two-way", per = "package", source = "sheet", grade = "datasheet" }

[power]
tdp = { printed = "700 W", per = "package", source = "sheet", grade = "datasheet" }
"""

SYSTEM = """
schema = 1
id = "acme-pod"
name = "Acme Pod"
vendor = "Acme"
status = "shipping"
chip = "acme-x1"
num_chips = 64
chips_per_node = 8

[[domains]]
name = "node"
plane = "scale_up"
size = 8
topology = "switched"

[[domains]]
name = "pod"
plane = "scale_up"
size = 64
topology = "torus"
bandwidth = { printed = "6.4 TB/s", direction = "one-way", per = "system", source = "sheet", grade = "datasheet" }

[power]
all_in = { printed = "10 kW", per = "node", source = "sheet", grade = "datasheet" }
"""

SOURCE = 'schema = 1\nid = "{0}"\ntitle = "{0}"\npublisher = "Acme"\n'
