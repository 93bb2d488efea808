"""What is compiled by mypyc must be used as a compiled module can be."""

import ast
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVICES = ROOT / "services"


def dotted(path):
    return ".".join(path.relative_to(SERVICES).with_suffix("").parts)


def compiled_modules():
    listed = runpy.run_path(str(ROOT / "hot_path.py"))["modules"]()
    return {dotted(SERVICES / path) for path in listed}


def bases_from(path, modules):
    """The classes of a source that derive from what it imports from one of the modules."""
    tree = ast.parse(path.read_text())
    imported = {
        name.asname or name.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in modules
        for name in node.names
    }
    return [
        f"{dotted(path)}.{node.name} derives from {base.id} of {imported[base.id]}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for base in node.bases
        if isinstance(base, ast.Name) and base.id in imported
    ]


def test_no_interpreted_class_derives_from_a_compiled_one():
    # Its methods would never be heard by the compiled code that they override, and nothing would say so.
    modules = compiled_modules()
    others = [path for path in sorted(SERVICES.rglob("*.py")) if dotted(path) not in modules]
    assert [found for path in others for found in bases_from(path, modules)] == []
    # The same look finds those that are compiled together, so it can find something.
    both = [path for path in sorted(SERVICES.rglob("*.py")) if dotted(path) in modules]
    assert any(bases_from(path, modules) for path in both)
