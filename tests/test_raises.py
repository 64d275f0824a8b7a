"""Every exception that a public function raises is named under ``Raises:`` in its docstring."""

import ast
import builtins
import inspect
import re
from functools import cache
from pathlib import Path

import pytest

import orthornn

PACKAGE = Path(orthornn.__file__).parent


def module_name(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


TREES = {
    module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")
}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
CALLED_BY_TORCH = ("add_param_group", "register_parameter", "reset_parameters", "step")


@cache
def imported(module):
    """What the names of other modules of the package mean in ``module``: (module, name or None)."""
    found = {}
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.ImportFrom):
            package = module.rpartition(".")[0] if node.level else ""
            home = ".".join(filter(None, [package, node.module]))
            for alias in node.names:
                inner = f"{home}.{alias.name}"
                whole = inner in TREES
                found[alias.asname or alias.name] = (inner, None) if whole else (home, alias.name)
    return found


@cache
def defined(module):
    """Functions, classes and methods of ``module`` by their dotted name."""
    found = {}
    for node in TREES[module].body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            found[node.name] = node
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{m.name}": m for m in node.body if isinstance(m, FUNCTIONS)}
    return found


def parts(node):
    """The pieces of a dotted name, or None of anything else."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute) and (front := parts(node.value)):
        return [*front, node.attr]
    return None


@cache
def bases(module, name):
    """The classes of the package that a class inherits from, nearest first: (module, name)."""
    result = []
    for base in filter(None, map(parts, defined(module)[name].bases)):
        home, of = imported(module).get(base[0], (module, base[0]))
        if len(base) == 1 and home in TREES and of in defined(home):
            result += [(home, of), *bases(home, of)]
    return result


def methods(module, name):
    return [n for n in defined(module) if n.startswith(f"{name}.")]


def located(module, name):
    """Where a function or method is defined, if need be by a class that its own inherits from."""
    owner, _, method = name.rpartition(".")
    if module in TREES and name not in defined(module) and owner in defined(module):
        for home, base in bases(module, owner):
            if f"{base}.{method}" in defined(home):
                return home, f"{base}.{method}"
    return module, name


def exceptions(raised, function):
    """Names of the exceptions of a ``raise``, looked up where a variable stands for them."""
    value = raised.exc.func if isinstance(raised.exc, ast.Call) else raised.exc
    if value is None:
        return set()
    name = parts(value)[-1]
    if len(parts(value)) > 1 or name[0].isupper():
        return {name}
    assigned = [
        node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and parts(node.targets[0]) == [name]
    ]
    names = {n.id for value in assigned for n in ast.walk(value) if isinstance(n, ast.Name)}
    return {n for n in names if isinstance(getattr(builtins, n, None), type)}


def called(module, node, owner):
    """The functions of the package that ``node`` calls or is decorated with, as (module, name)."""
    used = [part.func for part in ast.walk(node) if isinstance(part, ast.Call)]
    used += getattr(node, "decorator_list", [])
    for target in map(parts, used):
        if not target:
            continue
        head, *rest = target
        if head == "self" and owner and len(rest) == 1:
            yield module, f"{owner}.{rest[0]}"
        elif not rest and head in defined(module):
            yield module, head
        elif head in imported(module):
            home, name = imported(module)[head]
            yield home, ".".join([name, *rest] if name else rest)


@cache
def raised(module, name, seen=frozenset()):
    """All that ``name`` raises, itself or through what it calls; a class by being constructed."""
    module, name = located(module, name)
    node = defined(module).get(name) if module in TREES else None
    if node is None or (module, name) in seen:
        return frozenset()
    found, inner = set(), []
    if isinstance(node, ast.ClassDef):
        inner = [(module, f"{name}.__init__")]
        for home, base in bases(module, name):  # and what torch calls of a base, or a mixin
            names = [n.rpartition(".")[2] for n in methods(home, base)]
            by_torch = [n for n in names if n.startswith("_") or n in CALLED_BY_TORCH]
            inner += [(home, f"{base}.{n}") for n in by_torch]
        node = ast.FunctionDef(name, body=[], decorator_list=node.decorator_list)
    for part in ast.walk(node):
        if isinstance(part, ast.Raise):
            found |= exceptions(part, node)
    inner += called(module, node, name.rpartition(".")[0])
    further = seen | {(module, name)}
    return frozenset(found.union(*(raised(m, n, further) for m, n in inner)))


def documented(text):
    """The exceptions that a docstring of Google's style names."""
    section = re.search(r"\n *Raises:\n(.*?)(?:\n\s*\n *\S|\Z)", inspect.cleandoc(text or ""), re.S)
    names = re.findall(r"^ {4}([\w.]+):", section[1], re.M) if section else []
    return {name.rpartition(".")[2] for name in names}


def public():
    """Public functions, classes and their public methods: (module, name, whose docstring)."""
    for name in orthornn.__all__:
        home = getattr(orthornn, name).__module__
        yield home, name, ()
        if isinstance(defined(home)[name], ast.ClassDef):
            for origin, cls in ((home, name), *bases(home, name)):
                for method in methods(origin, cls):
                    if not method.rpartition(".")[2].startswith("_"):
                        yield origin, method, ((home, name), (origin, cls))


@pytest.mark.parametrize(("module", "name", "also"), sorted(set(public())), ids=str)
def test_what_is_raised_is_documented(module, name, also):
    texts = [ast.get_docstring(defined(m)[n]) for m, n in ((module, name), *also)]
    told = set().union(*map(documented, texts))
    assert raised(module, name) <= told, f"{name} also raises {raised(module, name) - told}"


def test_the_graph_of_calls_finds_what_is_known_to_be_raised():
    assert "ValueError" in raised("orthornn.manifolds.stiefel", "Stiefel")
    assert "LinAlgError" in raised("orthornn.manifolds.stiefel", "Stiefel.projx")
    assert raised("orthornn.optim.adam", "RiemannianAdam") >= {
        "ValueError",
        "RuntimeError",
        "FloatingPointError",
    }
    assert raised("orthornn.nn.rnn", "OrthoRNN") >= {"ValueError", "TypeError", "RuntimeError"}
    assert raised("orthornn.nn.rnn", "OrthoRNN.forward") >= {"ValueError", "RuntimeError"}
    assert documented(
        "x\n\nRaises:\n    ValueError: for\n        that\n    a.B: c\n\nE:\n    C: d"
    ) == {
        "ValueError",
        "B",
    }
