"""The code of our own adapters of PyTorch and JAX that runs one operator, cut out with all that it calls."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeGuard

from dougong.ops.definitions import DEFINITIONS

_TORCH, _JAX = "dougong.backends.torch", "dougong.backends.jax"
_NOT_CUT = ("collective", "graph")


def torch_source(op: str) -> str:
    """Return the functions, constants and imports that an operator's adapter comes down to.

    The last line is ``run = …``: a function of a call and its tensors.

    Raises
    ------
    LookupError
        Where it takes more than one process, or a graph of another operator.
    """
    if DEFINITIONS[op].family in _NOT_CUT:
        raise LookupError(op)
    return _source(_TORCH, op)


def jax_source(op: str) -> str:
    """Return the same of JAX, which need not be here: its modules are read, not imported.

    Raises
    ------
    LookupError
        Where JAX is not asked for it.
    """
    return _source(_JAX, op)


def _source(package: str, op: str) -> str:
    module, start = _entry(package, op)
    modules: dict[str, ast.Module] = {}
    _gather(package, module, modules)
    nodes = [node for each in modules.values() for node in _top(each)]
    wanted = _reached(start, nodes)
    kept = [ast.unparse(node) for node in nodes if _names_of(node) & wanted]
    imports, rest = (
        [text for text in kept if text.startswith(("import ", "from ")) is want] for want in (True, False)
    )
    return "\n".join([*dict.fromkeys(imports), "", *rest, f"run = {ast.unparse(start)}"])


def _gather(package: str, module: str, seen: dict[str, ast.Module]) -> None:
    tree = ast.parse(_file(package, module).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(package):
            for name in (str(node.module), *(f"{node.module}.{each.name}" for each in node.names)):
                left_out = (package, f"{package}.backend", f"{_JAX}.arrays", f"{_JAX}.operators")
                if name not in seen and name not in left_out and _file(package, name).is_file():
                    _gather(package, name, seen)
    seen[module] = tree


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise LookupError(package)
    return Path(spec.origin).parent


def _file(package: str, module: str) -> Path:
    # Found by its place: to ask Python for it would import the package's modules, and the stack with them.
    return _folder(package) / f"{module.removeprefix(package).lstrip('.').replace('.', '/')}.py"


def _top(module: ast.Module) -> Iterator[ast.stmt]:
    for node in module.body:
        ours = isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in (
            "dougong",
            "__future__",
        )
        if not ours and _names_of(node):
            yield node


def _entry(package: str, op: str) -> tuple[str, ast.expr]:
    """Return the module whose ``OPERATORS`` has an operator, and the expression that it has for it."""
    for file in sorted(_folder(package).glob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        values = {name: node.value for node in tree.body for name in _names_of(node) if _assigns(node)}
        found = _looked_up(values.get("OPERATORS"), op, values)
        if found is not None:
            return f"{package}.{file.stem}", found
    raise LookupError(op)


def _assigns(node: ast.stmt) -> TypeGuard[ast.Assign | ast.AnnAssign]:
    return isinstance(node, ast.Assign | ast.AnnAssign)


def _looked_up(table: ast.expr | None, op: str, values: Mapping[str, ast.expr | None]) -> ast.expr | None:
    """Look an operator up in a table as it is written: literal keys, and ``dict.fromkeys`` of another table."""
    if isinstance(table, ast.Call) and ast.unparse(table.func) == "dict.fromkeys":
        names, value = table.args[0], table.args[1]
        keys = values.get(names.id) if isinstance(names, ast.Name) else names
        listed = keys.keys if isinstance(keys, ast.Dict) else getattr(keys, "elts", [])
        return value if any(isinstance(key, ast.Constant) and key.value == op for key in listed) else None
    if not isinstance(table, ast.Dict):
        return None
    for key, value in zip(table.keys, table.values, strict=True):
        if isinstance(key, ast.Constant) and key.value == op:
            return value
        found = _looked_up(value, op, values) if key is None else None
        if found is not None:
            return found
    return None


def _names_of(node: ast.stmt) -> set[str]:
    """Return the names that a statement binds."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {(each.asname or each.name).split(".")[0] for each in node.names}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {
        each.id for target in targets if target for each in ast.walk(target) if isinstance(each, ast.Name)
    }


def _reached(start: ast.expr, nodes: list[ast.stmt]) -> set[str]:
    found: set[str] = set()
    waiting = _used(start)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for node in nodes:
            if name in _names_of(node):
                waiting |= _used(node) - found
    return found


def _used(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
