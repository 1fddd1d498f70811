"""Brings the template into the wheel, where an installed ts-template renders from it."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BundleHook(BuildHookInterface):
    """Adds `generator/_bundle`: the presets, copier.yml and what it includes, at their paths.

    Plain `force-include` does not do: it moves files, and the JSON belongs to the package as well.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Collect the bundle. An editable install has none: it renders from the checkout."""
        if version == "editable":
            return
        root = Path(self.root)
        self.bundle = Path(tempfile.mkdtemp())
        sys.path.insert(0, self.root)
        try:
            from generator.rendering import plain_copy  # imports nothing that is not installed yet
        finally:
            sys.path.remove(self.root)
        plain_copy(self.bundle, root)
        shutil.copytree(root / "presets", self.bundle / "presets")
        build_data["force_include"][str(self.bundle)] = "generator/_bundle"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what `initialize` collected."""
        if version != "editable":
            shutil.rmtree(self.bundle)
