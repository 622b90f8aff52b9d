"""Skip an example by name, if a library of its is not installed."""

from __future__ import annotations

import sys

import pytest

if sys.platform == "win32":
    pytest.skip("the examples are stopped with signals, which Windows lacks", allow_module_level=True)
