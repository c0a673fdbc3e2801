"""Replaces the code of functions that are loaded, so that a fault is planted without importing anything again."""

from __future__ import annotations

import ast
import gc
import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType, FunctionType, MappingProxyType

import gossipkv.core

Place = tuple[str, str, int]
"""File, qualified name and first line of a function."""


def core_files() -> list[Path]:
    """The modules of the core, all of which are loaded."""
    found = []
    for module in pkgutil.walk_packages(gossipkv.core.__path__, "gossipkv.core."):
        file = importlib.import_module(module.name).__file__
        assert file is not None, "a module of the core has a file"
        found.append(Path(file))
    return sorted(found)


def replace_code(trees: Mapping[Path, ast.Module], names: Mapping[str, object] = MappingProxyType({})) -> int:
    """Give the functions of modules the code of these trees, which may use these names; returns how many there were."""
    codes = {_place(code): code for path, tree in trees.items() for code in _codes(compile(tree, str(path), "exec"))}
    replaced = 0
    for each in gc.get_objects():
        if type(each) is FunctionType and (code := codes.get(_place(each.__code__))) is not None:
            if code.co_freevars != each.__code__.co_freevars:
                raise UnplantableError(f"{each.__qualname__} would use other variables of the function around it")
            each.__code__ = code
            each.__globals__.update(names)
            replaced += 1
    return replaced


class UnplantableError(Exception):
    """A fault cannot be planted into a function that is loaded."""


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _place(code: CodeType) -> Place:
    return code.co_filename, code.co_qualname, code.co_firstlineno
