"""The code of our own adapter of PyTorch that runs one operator, cut out of its modules with all that it calls."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
from collections.abc import Iterator
from types import ModuleType

from dougong.ops.definitions import DEFINITIONS

_TORCH = "dougong.backends.torch"
_NOT_CUT = ("collective", "graph")


def torch_source(op: str) -> str:
    """Return the functions, constants and imports that an operator's adapter comes down to.

    The last line is ``run = …``: a function of a call and its tensors.

    Raises
    ------
    LookupError
        Where it takes more than one process, or a graph of another operator.
    """
    from dougong.backends.torch.backend import OPERATORS

    if DEFINITIONS[op].family in _NOT_CUT:
        raise LookupError(op)
    entry = OPERATORS[op]
    module = inspect.getmodule(getattr(entry, "func", entry))
    assert module is not None
    modules: dict[str, ModuleType] = {}
    _gather(module, modules)
    nodes = [node for each in modules.values() for node in _top(each)]
    named = inspect.isfunction(entry) and entry.__name__ in vars(module)
    start = ast.Name(entry.__name__) if named else _entry(modules[module.__name__], op)
    wanted = _reached(start, nodes)
    kept = [ast.unparse(node) for node in nodes if _names_of(node) & wanted]
    imports, rest = (
        [text for text in kept if text.startswith(("import ", "from ")) is want] for want in (True, False)
    )
    return "\n".join([*dict.fromkeys(imports), "", *rest, f"run = {ast.unparse(start)}"])


def _gather(module: ModuleType, seen: dict[str, ModuleType]) -> None:
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_TORCH):
            for name in (str(node.module), *(f"{node.module}.{each.name}" for each in node.names)):
                if name not in seen and name not in (_TORCH, f"{_TORCH}.backend") and _is_module(name):
                    _gather(importlib.import_module(name), seen)
    seen[module.__name__] = module


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _top(module: ModuleType) -> Iterator[ast.stmt]:
    for node in ast.parse(inspect.getsource(module)).body:
        ours = isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in (
            "dougong",
            "__future__",
        )
        if not ours and _names_of(node):
            yield node


def _entry(module: ModuleType, op: str) -> ast.expr:
    """Return the expression that the module's table has for an operator."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == op:
                    return value
    raise LookupError(op)


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
