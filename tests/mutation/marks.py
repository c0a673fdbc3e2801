"""Marks what runs: every statement of the core, and which way each of its conditions went."""

from __future__ import annotations

import ast
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mutation.live import replace_code
from tests.mutation.places import statements

MARKS = "__marks__"
DECIDE = "__decide__"
"""Names that the marked code uses."""


@dataclass(frozen=True, slots=True)
class Mark:
    path: Path
    line: int
    statement: int
    """Its number in the module; -1 for a condition."""
    says: str


class Marked:
    """The marks of several modules, numbered one after the other."""

    def __init__(self, paths: list[Path]) -> None:
        self.marks: list[Mark] = []
        self.sources: dict[Path, str] = {}
        """What was on disk at the start, whatever is changed there in the meantime."""
        self._trees: dict[Path, ast.Module] = {}
        for path in paths:
            self.sources[path] = path.read_text()
            tree = ast.parse(self.sources[path])
            marking = _Marking(path, tree, self.marks)
            self._trees[path] = ast.fix_missing_locations(marking.visit(tree))
        self.number = {(mark.path, mark.statement): n for n, mark in enumerate(self.marks) if mark.statement >= 0}
        """The number of a statement's mark."""

    def plant(self) -> bytearray:
        """Let the functions that are loaded mark what runs; returns the marks, one byte each."""
        marks = bytearray(len(self.marks))

        def decide(number: int, value: Any) -> Any:
            marks[number if value else number + 1] = 1
            return value

        replace_code(self._trees, {MARKS: marks, DECIDE: decide})
        return marks


class _Marking(ast.NodeTransformer):
    """Puts a mark before each statement, and asks each condition which way it went."""

    def __init__(self, path: Path, tree: ast.Module, marks: list[Mark]) -> None:
        self._path = path
        self._marks = marks
        self._numbers = {id(statement): number for number, statement in enumerate(statements(tree))}

        self._functions = 0
        """The functions around the node."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self._functions += 1
        self.generic_visit(node)
        self._functions -= 1
        return node

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        return node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for field, children in list(ast.iter_fields(node)):
            if isinstance(children, list) and any(isinstance(child, ast.stmt) for child in children):
                setattr(node, field, [each for child in children for each in self._marked(child)])
            elif isinstance(children, list):
                setattr(node, field, [self.visit(c) if isinstance(c, ast.AST) else c for c in children])
            elif isinstance(children, ast.AST):
                setattr(node, field, self.visit(children))
        if self._functions:
            self._ask(node)
        return node

    def _marked(self, statement: ast.stmt) -> list[ast.stmt]:
        number = self._numbers.get(id(statement))
        if number is None:
            return [self.visit(statement)]
        mark = self._add(statement, number, "never runs")
        [setting] = ast.parse(f"{MARKS}[{mark}] = 1").body
        return [setting, self.visit(statement)]

    def _ask(self, node: ast.AST) -> None:
        match node:
            case ast.If() | ast.While() | ast.IfExp():
                node.test = self._asked(node.test)
            case ast.BoolOp():
                node.values = [self._asked(value) for value in node.values]
            case ast.comprehension():
                node.ifs = [self._asked(test) for test in node.ifs]
            case ast.match_case(guard=ast.expr() as guard):
                node.guard = self._asked(guard)

    def _asked(self, test: ast.expr) -> ast.expr:
        text = ast.unparse(_Unasked().visit(deepcopy(test)))
        mark = self._add(test, -1, f"`{text}` is never true")
        self._add(test, -1, f"`{text}` is never false")
        return ast.Call(ast.Name(DECIDE, ast.Load()), [ast.Constant(mark), test], [])

    def _add(self, node: ast.stmt | ast.expr, statement: int, says: str) -> int:
        self._marks.append(Mark(self._path, node.lineno, statement, says))
        return len(self._marks) - 1


class _Unasked(ast.NodeTransformer):
    """Takes the questions out again, for words that are in the source."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        return node.args[1] if isinstance(node.func, ast.Name) and node.func.id == DECIDE else node
