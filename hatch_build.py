"""Build hook: put a software bill of materials into the wheel (PEP 770), as CycloneDX 1.6."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class SbomHook(BuildHookInterface):  # type: ignore[type-arg]
    """Lists the package and its required dependencies. The wheel contains no code of others."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the file before the build."""
        self._folder = tempfile.TemporaryDirectory()
        file = Path(self._folder.name) / "calls-in-progress-async.cdx.json"
        file.write_text(json.dumps(self._sbom(), indent=2), encoding="utf-8")
        build_data["sbom_files"].append(str(file))

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the file after the build."""
        self._folder.cleanup()

    def _sbom(self) -> dict[str, Any]:
        core = self.metadata.core
        ours = f"pkg:pypi/{core.name}@{self.metadata.version}"
        package = {
            "type": "library",
            "bom-ref": ours,
            "name": core.name,
            "version": self.metadata.version,
            "description": core.description,
            "licenses": [{"license": {"id": core.license_expression}}],
            "purl": ours,
        }
        required = [_component(requirement) for requirement in core.dependencies]
        return {
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": {"component": package},
            "components": required,
            "dependencies": [{"ref": ours, "dependsOn": [each["bom-ref"] for each in required]}],
        }


def _component(requirement: str) -> dict[str, Any]:
    """Describe a dependency. Its version is chosen at the installation, so the range is a property."""
    name, versions = re.fullmatch(r"([\w.-]+)(.*)", requirement).groups()  # type: ignore[union-attr]
    purl = f"pkg:pypi/{name}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "purl": purl,
        "properties": [{"name": "versions", "value": versions}],
    }
