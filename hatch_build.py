"""Compiles what is compiled when the project is built or installed.

The C extension (`edgewise.protocols._json_tensor`) is made beside its source in any case; the hot path (`hot_path.py`) goes
into wheels, not into a source tree that is installed to be worked on. Without a C compiler, or Python's headers, the install
still succeeds: Python alone gives the same answers, slower.
"""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = "services/edgewise/protocols/_json_tensor.c"


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs the C compiler and marks the wheel as platform-specific."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile what belongs into this build."""
        if self._compile_json_tensor():
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
        if version == "standard":
            self._add_hot_path(build_data)

    def _compile_json_tensor(self) -> bool:
        source = Path(self.root, SOURCE)
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if not source.exists() or compiler is None:
            print("edgewise: no C compiler found; JSON tensors will be parsed in Python", file=sys.stderr)
            return False
        target = source.with_suffix(sysconfig.get_config_var("EXT_SUFFIX"))
        include = sysconfig.get_path("include")
        command = [
            compiler,
            "-O3",
            "-shared",
            "-fPIC",
            "-fvisibility=hidden",
            f"-I{include}",
            str(source),
            "-o",
            str(target),
        ]
        if subprocess.run(command, check=False).returncode != 0:
            print("edgewise: the C compiler failed; JSON tensors will be parsed in Python", file=sys.stderr)
            target.unlink(missing_ok=True)
            return False
        return True

    def _add_hot_path(self, build_data: dict[str, Any]) -> None:
        # The file beside this one; a build does not have its folder on the path.
        sys.path.insert(0, self.root)
        try:
            import hot_path  # noqa: PLC0415 - found only now
        finally:
            sys.path.remove(self.root)
        try:
            made = hot_path.compiled()
        except hot_path.CompileError as error:
            print(f"edgewise: {error}; the hot path will be interpreted", file=sys.stderr)
            return
        for path in made:
            build_data["force_include"][str(hot_path.BUILT / path)] = str(path)
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
