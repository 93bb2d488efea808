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


def test_what_was_compiled_is_taken_away_also_where_the_list_was_another_one_then(tmp_path):
    hot_path = runpy.run_path(str(ROOT / "hot_path.py"))
    remove, suffix = hot_path["remove"], hot_path["SUFFIX"]
    remove.__globals__["PACKAGES"] = tmp_path
    package = tmp_path / "edgewise" / "net"
    package.mkdir(parents=True)
    shared = tmp_path / "edgewise" / f"hot_path__mypyc{suffix}"
    unlisted = package / f"listed_no_more{suffix}"
    other = package / f"_in_c{suffix}"
    shared.write_bytes(b"machine code")
    unlisted.write_bytes(b"loads edgewise.hot_path__mypyc first")
    other.write_bytes(b"loads nothing")
    remove()
    assert list(tmp_path.rglob("*.*")) == [other]
