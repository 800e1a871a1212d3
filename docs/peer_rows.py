"""Ask aiconfigurator, in its own environment, what it says of given rows; run by `docs/accuracy.py --peer`.

Reads a JSON list of ``{"id", "tries": [arguments of cli_estimate, ...]}`` from stdin and prints one JSON line per row:
the first try that is answered, or the reason of the first that is not.
"""

import json
import logging
import sys
from importlib.metadata import version

from aiconfigurator.cli.api import cli_estimate

logging.disable(logging.CRITICAL)
VERSION = version("aiconfigurator")


def answer(row):
    reasons = []
    for tried in row["tries"]:
        try:
            found = cli_estimate(database_mode="SILICON", **tried)
        except (Exception, SystemExit) as error:  # whatever stops it is its answer to this row
            line = " ".join(f"{type(error).__name__}: {error}".split())
            reasons.append(line.split(" at /")[0][:160])
            continue
        modes = "/".join(filter(None, (tried.get("gemm_quant_mode"), tried.get("moe_quant_mode"))))
        return {"ttft_ms": found.ttft, "tpot_ms": found.tpot, "modes": modes or "automatic", "error": ""}
    return {"ttft_ms": None, "tpot_ms": None, "modes": "", "error": reasons[0]}


for row in json.load(sys.stdin):
    sys.__stdout__.write(json.dumps({"id": row["id"], "version": VERSION, **answer(row)}) + "\n")
    sys.__stdout__.flush()
