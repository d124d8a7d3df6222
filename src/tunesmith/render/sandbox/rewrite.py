"""A template's syntax tree with everything that costs replaced by functions that count.

Operators, slices, comparisons, outputs, loops and bodies become filters whose names no template can spell (see
operators.py): Jinja's compiler turns a filter into a plain call of a local function, the cheapest thing there
is. What a loop costs is worked out here, once, from its body.
"""

from collections.abc import Iterable
from typing import Any, TypeVar

from jinja2 import nodes
from jinja2.exceptions import TemplateAssertionError
from jinja2.visitor import NodeTransformer

Body = TypeVar("Body", bound=nodes.Node)

_STEPS: dict[type[nodes.Node], int] = {
    nodes.Call: 48,
    nodes.Filter: 24,
    nodes.Test: 24,
    nodes.Getattr: 24,
    nodes.Getitem: 24,
    nodes.Macro: 48,
}
"""Steps of a node, where they are not the three of any other."""

_UNITS: dict[type[nodes.Node], int] = {
    nodes.Output: 8,
    nodes.List: 32,
    nodes.Tuple: 32,
    nodes.Dict: 96,
    nodes.Macro: 96,
}
"""Units of memory that a node may leave behind, beside the characters that are counted when it runs."""

_OTHER_FILES: tuple[type[nodes.Stmt], ...] = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
_ESCAPING: tuple[type[nodes.Stmt], ...] = (nodes.EvalContextModifier, nodes.ScopedEvalContextModifier)


def rewrite(tree: nodes.Template) -> nodes.Template:
    """The tree with prices; raises TemplateAssertionError at what a chat template may not contain."""
    for escaping in tree.find_all(_ESCAPING):
        raise TemplateAssertionError("{% autoescape %} would write HTML, not a prompt", escaping.lineno)
    for tag in tree.find_all(_OTHER_FILES):
        name = "from" if type(tag) is nodes.FromImport else type(tag).__name__.lower()
        raise TemplateAssertionError(f"{{% {name} %}} would read another file", tag.lineno)
    rewritten: nodes.Template = _Rewriter().visit(tree)
    return rewritten


def _operator(name: str, node: Any, *args: Any, line: int) -> nodes.Filter:
    return nodes.Filter(node, name, list(args), [], None, None, lineno=line)


def _number(value: int, line: int) -> nodes.Const:
    return nodes.Const(value, lineno=line)


def _price(body: Iterable[nodes.Node]) -> tuple[int, int]:
    """Steps and units of running these nodes once."""
    steps, units = 4, 0
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        steps += _STEPS.get(type(node), 3)
        units += _UNITS.get(type(node), 0)
        if isinstance(node, nodes.Const) and isinstance(node.value, str):
            steps += len(node.value) >> 6
        waiting.extend(node.iter_child_nodes())
    return steps, units


def _is_constant(node: nodes.Node) -> bool:
    """Whether comparing with this costs nothing worth counting."""
    if isinstance(node, nodes.List | nodes.Tuple):
        return all(isinstance(item, nodes.Const) for item in node.items)
    return isinstance(node, nodes.Const)


class _Rewriter(NodeTransformer):
    def visit_Output(self, node: nodes.Output) -> nodes.Output:
        node.nodes = [self._written(child) for child in node.nodes]
        return node

    def _written(self, child: nodes.Expr) -> nodes.Expr:
        if isinstance(child, nodes.TemplateData):
            return child
        if isinstance(child, nodes.Const) and type(child.value) is str:
            return nodes.TemplateData(child.value, lineno=child.lineno)
        return _operator("{{ a }}", self.visit(child), line=child.lineno)

    def visit_For(self, node: nodes.For) -> nodes.For:
        price = _price([*node.body, *([node.test] if node.test is not None else [])])
        self.generic_visit(node)
        if node.recursive:  # loop(...) calls the body without coming by here again
            node.body.insert(0, self._entered(price, node.lineno))
        line = node.lineno
        node.iter = _operator("for a", node.iter, *(_number(each, line) for each in price), line=line)
        return node

    def _entered(self, price: tuple[int, int], line: int) -> nodes.ExprStmt:
        numbers = [_number(each, line) for each in price]
        return nodes.ExprStmt(_operator("enter a", nodes.Const(None, lineno=line), *numbers, line=line), lineno=line)

    def _with_price(self, node: Any) -> Any:
        price = _price(node.body)
        self.generic_visit(node)
        node.body.insert(0, self._entered(price, node.lineno))
        return node

    visit_Macro = visit_CallBlock = visit_Block = _with_price

    def _binary(self, node: Any) -> nodes.Filter:
        self.generic_visit(node)
        return _operator(f"a {node.operator} b", node.left, node.right, line=node.lineno)

    visit_Add = visit_Sub = visit_Mul = visit_Pow = visit_Mod = _binary

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:
        self.generic_visit(node)
        return _operator("a ~ b", nodes.Tuple(node.nodes, "load", lineno=node.lineno), line=node.lineno)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Expr:
        ops, sides = [each.op for each in node.ops], [node.expr, *(each.expr for each in node.ops)]
        if len(ops) == 1 and any(_is_constant(side) for side in sides[ops[0] in ("in", "notin") :]):
            return self._visited(node)
        self.generic_visit(node)
        if len(ops) == 1 and ops[0] in ("in", "notin"):
            found = _operator("a in b", node.expr, node.ops[0].expr, line=node.lineno)
            return found if ops[0] == "in" else nodes.Not(found, lineno=node.lineno)
        node.expr = _operator("a == b", node.expr, line=node.lineno)
        for each in node.ops:
            each.expr = _operator("a == b", each.expr, line=node.lineno)
        return node

    def _visited(self, node: nodes.Compare) -> nodes.Compare:
        self.generic_visit(node)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Expr:
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        line, none = node.lineno, nodes.Const(None, lineno=node.lineno)
        bounds = [each if each is not None else none for each in (node.arg.start, node.arg.stop, node.arg.step)]
        return _operator("a [:]", node.node, *bounds, line=line)

    def visit_Pair(self, node: nodes.Pair) -> nodes.Pair:
        self.generic_visit(node)
        if not isinstance(node.key, nodes.Const):
            node.key = _operator("a == b", node.key, line=node.lineno)  # it is hashed
        return node

    def _with_arguments(self, node: Any) -> Any:
        self.generic_visit(node)
        if node.dyn_args is not None:
            node.dyn_args = _operator("list", node.dyn_args, line=node.lineno)
        if node.dyn_kwargs is not None:
            node.dyn_kwargs = _operator("**a", node.dyn_kwargs, line=node.lineno)
        return node

    visit_Call = visit_Filter = visit_Test = _with_arguments
