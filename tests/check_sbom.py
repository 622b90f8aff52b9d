"""Validate the bill of materials in a wheel against CycloneDX; ``nox -s wheel`` passes the path of the wheel."""

from __future__ import annotations

import sys
import zipfile

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

with zipfile.ZipFile(sys.argv[1]) as wheel:
    (file,) = [name for name in wheel.namelist() if ".dist-info/sboms/" in name]
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(wheel.read(file).decode())
if error is not None:
    sys.exit(f"{file} is not valid CycloneDX 1.6: {error}")
print(f"{file} is valid CycloneDX 1.6")
