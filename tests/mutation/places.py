"""The places of a module where a fault can be planted, and the faults themselves.

A place is an expression or a statement inside a function. Docstrings, annotations, defaults, assertions, texts of
errors and notices, and what `repr` says are no places: a change there breaks no rule. Constants of a module are
settings, and tests of behaviour do not hold their exact size.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
WORDS_ONLY = ("__repr__", "__str__")
"""Functions that only describe."""
TEXTS = ("Notice",)
"""Calls whose arguments are words for people."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault in one function."""

    path: Path
    function: str
    line: int
    statement: int
    """The number of the statement, as `statements` counts."""
    node: int
    """The number of the node that is replaced, as `ast.walk` counts."""
    change: int
    """Which of the faults of this node."""
    was: str
    became: str

    def __str__(self) -> str:
        return f"{self.path.name}:{self.line} {self.function}: `{self.was}` -> `{self.became}`"


def statements(tree: ast.Module) -> list[ast.stmt]:
    """The statements inside functions, but for docstrings."""
    return [statement for _, statement in _numbered(tree)]


def mutants(path: Path, source: str) -> list[list[Mutant]]:
    """All mutants of a module, by place."""
    tree = ast.parse(source)
    numbers = {id(node): number for number, node in enumerate(ast.walk(tree))}
    found = []
    for number, (function, statement) in enumerate(_numbered(tree)):
        for node in _places(statement):
            place = []
            for change, fault in enumerate(faults(node, is_question=_is_question(function.node))):
                became = "pass" if isinstance(fault, ast.Pass) else _words(_replaced(statement, node, fault))
                line = getattr(node, "lineno", statement.lineno)
                place.append(
                    Mutant(path, function.name, line, number, numbers[id(node)], change, _words(statement), became)
                )
            if place:
                found.append(place)
    return found


def planted(source: str, mutant: Mutant) -> ast.Module:
    """The module with the fault."""
    tree = ast.parse(source)
    node = next(node for number, node in enumerate(ast.walk(tree)) if number == mutant.node)
    outer = [each for each in ast.walk(tree) if isinstance(each, Function) and any(node is n for n in ast.walk(each))]
    fault = faults(node, is_question=_is_question(outer[-1]))[mutant.change]
    _Replacement(node, fault).visit(tree)
    return ast.fix_missing_locations(tree)


def faults(node: ast.AST, is_question: bool) -> list[ast.AST]:
    """What may stand in place of a node. `is_question`: its function returns a bool."""
    match node:
        case ast.Compare(left, [operator], [right]):
            return [ast.Compare(left, [other()], [right]) for other in COMPARISONS[type(operator)]]
        case ast.BoolOp(operator, values):
            swapped = ast.Or() if isinstance(operator, ast.And) else ast.And()
            shorter = [values[:place] + values[place + 1 :] for place in range(len(values))]
            return [
                ast.BoolOp(swapped, values),
                *(ast.BoolOp(operator, rest) if len(rest) > 1 else rest[0] for rest in shorter),
            ]
        case ast.UnaryOp(ast.Not(), operand):
            return [operand]
        case ast.BinOp(left, operator, right) if type(operator) in OPERATORS and not _is_text(left):
            return [ast.BinOp(left, OPERATORS[type(operator)](), right), left]
        case ast.Constant(bool(value)):
            return [ast.Constant(not value)]
        case ast.Constant(int(value)):
            return [ast.Constant(value + 1), ast.Constant(value - 1)]
        case ast.Name(str(name), ast.Load()) if name in NAMES:
            return [ast.Name(NAMES[name], ast.Load())]
        case ast.Subscript(value, ast.Slice(), ast.Load()):
            return [value]
        case ast.IfExp(_, body, orelse):
            return [body, orelse]
        case ast.comprehension(target, iterated, [_, *_]):
            return [ast.comprehension(target, iterated, [], 0)]
        case ast.match_case(pattern, ast.expr(), body):
            return [ast.match_case(pattern, None, body)]
        case ast.stmt():
            return _faults_of_statement(node, is_question)
    return []


def _faults_of_statement(statement: ast.stmt, is_question: bool) -> list[ast.AST]:
    match statement:
        case ast.If(_, body, orelse):
            return [ast.If(ast.Constant(True), body, orelse), ast.If(ast.Constant(False), body, orelse)]
        case ast.While(_, body, orelse):
            return [ast.While(ast.Constant(False), body, orelse)]
        case ast.Return(ast.expr() as value) if is_question:
            constants = [ast.Return(ast.Constant(True)), ast.Return(ast.Constant(False))]
            return [each for each in constants if ast.dump(each) != ast.dump(ast.Return(value))]
        case ast.Return(ast.expr() as value) if not isinstance(value, ast.Constant):
            return [ast.Return(ast.Constant(None))]
        case ast.Expr(ast.Call()) | ast.AugAssign() | ast.Delete() | ast.Continue() | ast.Break() | ast.Raise():
            return [ast.Pass()]
        case ast.Assign(targets) if not any(isinstance(target, ast.Name | ast.Tuple) for target in targets):
            return [ast.Pass()]
        case ast.Return(None):
            return [ast.Pass()]
    return []


def _is_question(function: Function) -> bool:
    return isinstance(function.returns, ast.Name) and function.returns.id == "bool"


@dataclass(frozen=True, slots=True)
class _Owner:
    """The innermost function that a statement belongs to, and its name."""

    name: str
    node: Function


def _numbered(tree: ast.Module) -> Iterator[tuple[_Owner, ast.stmt]]:
    def inside(node: ast.AST, names: tuple[str, ...], owner: Function | None) -> Iterator[tuple[_Owner, ast.stmt]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | Function):
                if child.name in WORDS_ONLY:
                    continue
                function = child if isinstance(child, Function) else owner
                yield from inside(child, (*names, child.name), function)
            elif isinstance(child, ast.expr):
                continue
            else:
                if owner is not None and isinstance(child, ast.stmt) and not _is_silent(child):
                    yield _Owner(".".join(names), owner), child
                yield from inside(child, names, owner)

    return inside(tree, (), None)


def _is_silent(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Assert | ast.Pass | ast.Import | ast.ImportFrom) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


def _places(statement: ast.stmt) -> Iterator[ast.AST]:
    """The statement and its expressions, without the statements in it."""
    yield statement
    if isinstance(statement, ast.Raise):
        return
    waiting = list(ast.iter_child_nodes(statement))
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.match_case):
            yield node
            waiting += [node.guard] if node.guard else []
        elif isinstance(node, ast.stmt | ast.ExceptHandler | ast.JoinedStr) or _is_for_people(statement, node):
            continue
        else:
            yield node
            waiting += ast.iter_child_nodes(node)


def _is_for_people(statement: ast.stmt, node: ast.AST) -> bool:
    """Whether it is an annotation of the statement, or the text of a notice."""
    if isinstance(statement, ast.AnnAssign) and node is statement.annotation:
        return True
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in TEXTS


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))


class _Replacement(ast.NodeTransformer):
    def __init__(self, node: ast.AST, fault: ast.AST) -> None:
        self._node = node
        self._fault = fault

    def visit(self, node: ast.AST) -> ast.AST:
        if node is self._node:
            return ast.copy_location(self._fault, node)
        return self.generic_visit(node)


def _replaced(statement: ast.stmt, node: ast.AST, fault: ast.AST) -> ast.AST:
    """A copy of the statement with the fault."""
    place = next(number for number, each in enumerate(ast.walk(statement)) if each is node)
    copy = deepcopy(statement)
    target = next(each for number, each in enumerate(ast.walk(copy)) if number == place)
    changed: ast.AST = _Replacement(target, fault).visit(copy)
    return changed


def _words(node: ast.AST) -> str:
    """The statement in one line, without the statements in it."""
    bare = deepcopy(node)
    match bare:
        case ast.If() | ast.For() | ast.While() | ast.With():
            bare.body = [ast.Pass()]
            if not isinstance(bare, ast.With):
                bare.orelse = []
        case ast.Match():
            return "match " + ", ".join(ast.unparse(case.guard) if case.guard else "_" for case in bare.cases)
        case ast.Try():
            return "try"
    return ast.unparse(ast.fix_missing_locations(bare)).split(":\n")[0].replace("\n", " ")
