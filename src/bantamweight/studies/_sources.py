"""What code a job's result depends on: the source of a module and of everything it imports from us.

Read with `ast`, never executed, so imports inside functions count too. Comments, layout and docstrings do not
count: editing them leaves finished jobs valid.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from hashlib import blake2b
from pathlib import Path

__all__ = ["closure", "code", "fingerprint", "libraries"]

PACKAGE = "bantamweight"
_HOME = Path(__file__).resolve().parents[1]


@cache
def code(modules: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """Fingerprint and libraries of all that the modules reach; read once per process, as Python does."""
    reached = closure(modules)
    return fingerprint(reached), libraries(reached)


def closure(modules: Iterable[str]) -> tuple[str, ...]:
    """The given modules and all of our modules they import, directly or not, sorted.

    Modules outside the package (a user's own part) are included themselves, without what they import.

    >>> "bantamweight.errors" in closure(["bantamweight.parts"])
    True
    """
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += [found for found in _imports(module) if found not in seen]
    return tuple(sorted(seen))


def fingerprint(modules: Iterable[str]) -> str:
    """Hash of the meaning of these modules' sources (comments, layout and docstrings apart)."""
    digest = blake2b(digest_size=16)
    for module in sorted(set(modules)):
        digest.update(f"{module}\0{_meaning(module)}\0".encode())
    return digest.hexdigest()


def libraries(modules: Iterable[str]) -> dict[str, str]:
    """Version of each installed distribution that these modules import, and of Python."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for top in sorted({top for module in modules for top in _foreign(module)}):
        found |= _versions(top)
    return dict(sorted(found.items()))


@cache
def _versions(top: str) -> dict[str, str]:
    """The distributions that a top-level package comes from; most are called like it."""
    try:
        return {top: importlib.metadata.version(top)}
    except importlib.metadata.PackageNotFoundError:
        return {name: importlib.metadata.version(name) for name in _distributions().get(top, [])}


@cache
def _distributions() -> dict[str, list[str]]:
    return {top: sorted(set(owners)) for top, owners in importlib.metadata.packages_distributions().items()}


def _file(module: str) -> Path | None:
    """Where a module's source is; None when there is no such module."""
    if module == PACKAGE or module.startswith(PACKAGE + "."):
        base = _HOME.joinpath(*module.split(".")[1:])
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                return path
        return None
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


@cache
def _tree(module: str) -> ast.Module:
    path = _file(module)
    return ast.parse(path.read_bytes() if path else b"")


@cache
def _meaning(module: str) -> str:
    tree = ast.parse(ast.unparse(_tree(module)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return ast.dump(tree)


@cache
def _imports(module: str) -> tuple[str, ...]:
    """Our own modules that this one imports anywhere in its text."""
    if module != PACKAGE and not module.startswith(PACKAGE + "."):
        return ()
    found: set[str] = set()
    for target, name in _statements(module):
        if target != PACKAGE and not target.startswith(PACKAGE + "."):
            continue
        below = f"{target}.{name}" if name else target
        if _file(below):
            found.add(below)
        elif target != PACKAGE:
            found |= {target, *_handed_on(target, name)}
    return tuple(sorted(found - {PACKAGE}))


def _statements(module: str) -> Iterator[tuple[str, str]]:
    """(module, name) for every import in the text; name is empty for `import module`."""
    path = _file(module)
    home = module if path and path.name == "__init__.py" else module.rpartition(".")[0]
    for node in _run(_tree(module)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = home.rsplit(".", node.level - 1)[0] if node.level > 1 else home
            target = ".".join(part for part in (base if node.level else "", node.module or "") if part)
            yield from ((target, alias.name) for alias in node.names)


def _run(node: ast.AST) -> Iterator[ast.AST]:
    """Every node that can run: all but what is there for type checkers only."""
    yield node
    typing_only = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
    for child in node.orelse if isinstance(node, ast.If) and typing_only else ast.iter_child_nodes(node):
        yield from _run(child)


def _handed_on(package: str, name: str) -> set[str]:
    """The file that a lazy `__init__` gets a name from (`{"Split": "_core"}`); all that it names when unclear."""
    path = _file(package)
    if path is None or path.name != "__init__.py":
        return set()
    pairs = [
        (key.value, value.value)
        for node in ast.walk(_tree(package))
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(value, ast.Constant)
    ]
    words = {str(home) for key, home in pairs if key == name}
    words = words or {str(node.value) for node in ast.walk(_tree(package)) if isinstance(node, ast.Constant)}
    words = {word.lstrip(".") for word in words if word.replace(".", "").isidentifier()}
    options = words | {f"{package}.{word}" for word in words}
    return {option for option in options if option.startswith(package + ".") and _file(option)}


@cache
def _foreign(module: str) -> tuple[str, ...]:
    """Top-level names of third-party packages that this module imports."""
    tops = {target.partition(".")[0] for target, _ in _statements(module) if target}
    return tuple(sorted(tops - {PACKAGE} - set(sys.stdlib_module_names)))
