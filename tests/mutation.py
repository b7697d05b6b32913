"""Measure the mutation score: how many small changes of a module's code its tests notice.

    python -m tests.mutation MODULE... [--sample 60] [--seed 1] [--timeout 300] [--log FILE]

A mutant is the module with one change: a comparison, an operator, a number, a condition, a statement left out. A sample
of a module's mutants is drawn by the seed. For each, a child of this process, which has all libraries loaded, imports
the mutant instead of the module and runs the module's tests until the first failure. Tests that start their own process
see the unchanged module. Prints each mutant that no test noticed, and the share that was noticed. `--log` keeps a line
of JSON for each; a run with the same log continues it.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Modules of the package, and the tests that must notice their mutants.
TESTS = {
    "challenge.metric": ("challenge/test_metric.py", "challenge/test_evaluation.py"),
    "decision.thresholds": ("decision/test_thresholds.py",),
    "ecg.header": ("ecg/test_header.py", "ecg/test_recording.py"),
    "ecg.recording": ("ecg/test_recording.py", "ecg/test_signal_files.py"),
    "model.ensemble": ("model/test_ensemble.py", "model/test_folder.py"),
    "data.sample_store": ("data/test_sample_store.py", "data/test_prepare.py"),
}
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.MatMult: ast.Mult,
}  # fmt: skip


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the replacements of a node."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        yield _with(node, ops=[COMPARISONS[type(node.ops[0])](), *node.ops[1:]])
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        yield _with(node, op=OPERATORS[type(node.op)]())
    if isinstance(node, ast.BoolOp):
        yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    if isinstance(node, ast.UnaryOp):
        yield node.operand
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield _with(node, value=node.value + 1)
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield _with(node, value=not node.value)
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant):
        yield ast.Pass()
    if isinstance(node, ast.Raise | ast.AugAssign | ast.Continue | ast.Break):
        yield ast.Pass()


def _with(node: ast.AST, **fields: Any) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def mutants(source: str) -> list[tuple[str, ast.Module]]:
    """Return all mutants of a module: a description and the changed tree. Type hints and strings are not changed."""
    tree, found = ast.parse(source), []
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if field in ("annotation", "returns", "type_params"):
                continue
            for place, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
                for new in changes(node) if isinstance(node, ast.AST) and not _is_hint(tree, node) else ():
                    found.append(_mutant(tree, parent, field, place, node, new))
    return found


def _is_hint(tree: ast.Module, node: ast.AST) -> bool:
    """Return whether a node is in an annotation."""
    if not hasattr(tree, "hints"):
        owners = (each for each in ast.walk(tree) if isinstance(each, ast.arg | ast.AnnAssign | ast.FunctionDef))
        roots = (getattr(owner, name, None) for owner in owners for name in ("annotation", "returns"))
        tree.hints = {id(inner) for root in roots if root is not None for inner in ast.walk(root)}  # type: ignore[attr-defined]
    return id(node) in tree.hints  # type: ignore[attr-defined]


def _mutant(
    tree: ast.Module, parent: ast.AST, field: str, place: int | None, node: Any, new: ast.AST
) -> tuple[str, ast.Module]:
    value = getattr(parent, field)
    ast.copy_location(new, node)
    description = f"line {node.lineno}, column {node.col_offset}: {_short(node)} -> {_short(new)}"
    setattr(parent, field, new if place is None else [*value[:place], new, *value[place + 1 :]])
    result = copy.deepcopy(tree)
    setattr(parent, field, value)
    return description, ast.fix_missing_locations(result)


def _short(node: ast.AST) -> str:
    text = ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).splitlines()[0]
    return text if len(text) <= 70 else text[:67] + "..."


class Loader(importlib.machinery.SourceFileLoader):
    """Loader that replaces the code of a module by a tree."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        super().__init__(name, str(path))
        self.tree = tree

    def get_code(self, fullname: str) -> Any:
        return compile(self.tree, self.path, "exec")


class Finder(importlib.abc.MetaPathFinder):
    """Finder of the loader of one module."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> Any:
        if fullname != self.loader.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self.loader.path, loader=self.loader)


def passes(module: str, tree: ast.Module | None, seconds: float) -> bool:
    """Return whether the tests of a module pass in time with this tree in its place (None: unchanged)."""
    child = os.fork()
    if child == 0:
        os.setsid()
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        if tree is not None:
            path = source_file(module)
            sys.meta_path.insert(0, Finder(Loader(f"leadwise.{module}", path, tree)))
        import pytest

        options = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0"]
        os._exit(pytest.main([*options, *(f"tests/{name}" for name in TESTS[module])]))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def source_file(module: str) -> Path:
    """Return the file of a module such as "challenge.metric"."""
    return ROOT / "leadwise" / f"{module.replace('.', '/')}.py"


def load_libraries() -> None:
    """Import what all children need, except the project's own modules."""
    import hypothesis  # noqa: F401
    import numpy  # noqa: F401
    import pytest  # noqa: F401
    import safetensors.torch  # noqa: F401
    import scipy.io  # noqa: F401
    import torch

    torch.set_num_threads(1)
    sys.path.insert(0, str(ROOT))


def main() -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="+", choices=sorted(TESTS), metavar="MODULE")
    parser.add_argument("--sample", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=300.0)
    parser.add_argument("--log", type=Path)
    options = parser.parse_args()
    os.chdir(ROOT)
    load_libraries()
    known: dict[str, bool] = {}
    if options.log and options.log.exists():
        known = {row["mutant"]: row["noticed"] for row in map(json.loads, options.log.read_text().splitlines())}
    for module in options.modules:
        everything = mutants(source_file(module).read_text(encoding="utf-8"))
        drawn = random.Random(options.seed).sample(everything, min(options.sample, len(everything)))
        if not passes(module, None, options.timeout):
            print(f"{module}: its tests fail without a mutant", file=sys.stderr)
            return 1
        noticed = 0
        for description, tree in drawn:
            key = f"{module} {description}"
            if key not in known:
                known[key] = not passes(module, tree, options.timeout)
                if options.log:
                    with options.log.open("a") as file:
                        file.write(json.dumps({"mutant": key, "noticed": known[key]}) + "\n")
            noticed += known[key]
            if not known[key]:
                print(f"  {key}", flush=True)
        print(f"{module}: {noticed} of {len(drawn)} noticed ({noticed / len(drawn):.0%}); {len(everything)} in total")
    return 0


if __name__ == "__main__":
    sys.exit(main())
