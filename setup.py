"""The one build step that pyproject.toml cannot say: what ships beside the code goes into the wheel.

Configuration, model and schema lie at the root of the project, where people look for them. An installed
package has no such root, so a build lays copies into `worker/shipped`. See docs/decisions/0007-what-a-wheel-carries.md.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
SHIPPED = ("config.yaml", "models/digits", "docs/reference/record.schema.json")


class BuildWithShipped(build_py):
    """Builds the package, and then copies what ships with it; not for editable installs, which see the root."""

    def run(self) -> None:
        """Build, then copy."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "worker" / "shipped"
        shutil.rmtree(target, ignore_errors=True)
        for name in SHIPPED:
            source = ROOT / name
            place = target / (name if source.is_dir() else source.name)
            if source.is_dir():
                shutil.copytree(source, place, ignore=shutil.ignore_patterns("*.png", ".*"))
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, place)


setup(cmdclass={"build_py": BuildWithShipped})
