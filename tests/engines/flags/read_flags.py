"""Reads an engine's flags out of its released wheel, without running any of it.

``python tests/engines/flags/read_flags.py vllm-X.whl sglang-Y.whl`` writes one JSON table per wheel beside this
file: the flags, and the values of those that take one of a list.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
VLLM = ("vllm/engine/arg_utils.py", "vllm/entrypoints/common/cli_args.py")
VLLM_CHOICES = {
    "--kv-cache-dtype": ("vllm/config/cache.py", "CacheDType"),
    "--quantization": ("vllm/model_executor/layers/quantization/__init__.py", "QuantizationMethods"),
    "--speculative-config method": ("vllm/config/speculative.py", "MTPModelTypes"),
}
SGLANG = "sglang/srt/arg_groups/fields/"
SGLANG_CHOICES = "sglang/srt/arg_groups/choices.py"


def strings(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def assigned(tree: ast.Module, name: str) -> list[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
            return sorted(set(strings(node.value)))
    raise SystemExit(f"no {name}")


def read_vllm(archive: zipfile.ZipFile) -> dict[str, object]:
    flags: set[str] = set()
    for path in VLLM:
        tree = ast.parse(archive.read(path))
        flags |= {word for word in strings(tree) if re.fullmatch(r"--[a-z0-9][a-z0-9-]*", word)}
        for node in ast.walk(tree):  # fields of the front end's records are flags by their names
            if isinstance(node, ast.ClassDef) and node.name in ("BaseFrontendArgs", "FrontendArgs"):
                names = [item.target for item in node.body if isinstance(item, ast.AnnAssign)]
                flags |= {f"--{name.id.replace('_', '-')}" for name in names if isinstance(name, ast.Name)}
    choices = {
        flag: assigned(ast.parse(archive.read(path)), name) for flag, (path, name) in VLLM_CHOICES.items()
    }
    return {
        "read": [*VLLM, *(path for path, _ in VLLM_CHOICES.values())],
        "flags": sorted(flags),
        "choices": choices,
    }


def read_sglang(archive: zipfile.ZipFile) -> dict[str, object]:
    flags: set[str] = set()
    choices: dict[str, list[str]] = {}
    files = [name for name in archive.namelist() if name.startswith(SGLANG) and name.endswith(".py")]
    for path in files:
        for node in ast.walk(ast.parse(archive.read(path))):
            if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
                continue
            words = ast.unparse(node.annotation)
            if not words.startswith("A[") or "no_cli=True" in words:
                continue
            own = re.search(r"cli_name='(--[^']+)'", words)
            flag = own[1] if own else f"--{node.target.id.replace('_', '-')}"
            flags |= {flag, *re.findall(r"'(--[a-z0-9-]+)'", words)}
            listed = re.search(r"choices=(\[[^\]]*\])", words) or re.search(r"Literal(\[[^\]]*\])", words)
            if listed:
                choices[flag] = sorted(set(strings(ast.parse(listed[1]))))
    choices["--quantization"] = assigned(ast.parse(archive.read(SGLANG_CHOICES)), "QUANTIZATION_CHOICES")
    choices["--disaggregation-transfer-backend"] = assigned(
        ast.parse(archive.read(SGLANG_CHOICES)), "DISAGG_TRANSFER_BACKEND_CHOICES"
    )
    return {
        "read": [*files, SGLANG_CHOICES],
        "flags": sorted(flags),
        "choices": dict(sorted(choices.items())),
    }


def main(wheels: list[str]) -> None:
    for wheel in map(Path, wheels):
        name, version = wheel.name.split("-")[:2]
        with zipfile.ZipFile(wheel) as archive:
            found = {"vllm": read_vllm, "sglang": read_sglang}[name](archive)
        sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
        head = {"engine": name, "version": version, "source": f"{wheel.name} of PyPI", "sha256": sha256}
        text = json.dumps({**head, **found}, indent=1)
        (HERE / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
