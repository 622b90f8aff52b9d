"""Sphinx configuration of the documentation site; ``nox -s docs`` builds it."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import attrs
from sphinx.application import Sphinx

from calls_in_progress_async import __version__
from calls_in_progress_async.sandbox import SandboxSettings

sys.path.insert(0, str(Path(__file__).parent))
import inventories

project = "calls-in-progress-async"
author = "The calls-in-progress-async authors"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = project
html_show_copyright = False
add_module_names = False
python_maximum_signature_line_length = 88

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
# Docstrings use single backticks for code, as Markdown does.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
suppress_warnings = ["ref.python"]  # the same name in two modules, such as a method's and its class's

intersphinx_mapping = inventories.write(Path(tempfile.mkdtemp()))
nitpicky = True
nitpick_ignore = [
    ("py:class", "calls_in_progress_async.client.T"),  # a type variable
    ("py:class", "calls_in_progress_async.limits.adaptive.Adaptation"),  # made by `RateLimit.adaptive` alone
    ("py:class", "OrganizationSource"),
    ("py:class", "Script"),
]

REPOSITORY_PAGES = {
    "SECURITY.md": "/security.md",
    "CHANGELOG.md": "/changelog.md",
    "CONTRIBUTING.md": "/contributing.md",
}
"""Pages at the top of the repository, with their page in the site."""


def rewrite_links(app: Sphinx, page: str, source: list[str]) -> None:
    """Point links to pages outside ``docs`` to the site's own copies."""
    for file, target in REPOSITORY_PAGES.items():
        for up in ("../../", "../"):
            source[0] = source[0].replace(f"]({up}{file})", f"]({target})")


def keep_whole_sentences(*event: Any) -> None:
    """Keep napoleon from reading the start of an attribute's sentence, up to a colon, as a type."""
    _, what, _, _, _, lines = event
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]  # an empty comment, in place of the first sentence


def show_defaults(*event: Any) -> tuple[str, str] | None:
    """Show the values of defaults that attrs writes as code, or that are constants; dots for a value made later."""
    _, _, _, documented, _, signature, returned = event
    settings = [each for each in (documented, SandboxSettings) if attrs.has(each)]
    fields = {field.name: field.default for each in settings for field in reversed(attrs.fields(each))}

    def value_of(found: re.Match[str]) -> str:
        value = fields[found[1]] if found[1] else getattr(sys.modules[documented.__module__], found[2], attrs.NOTHING)
        return "=..." if value is attrs.NOTHING or type(value) is object else f"={value!r}"

    return signature and (re.sub(r"=(?:attr_dict\['(\w+)'\]\.default|([A-Z_]+)\b)", value_of, signature), returned)


def setup(app: Sphinx) -> None:
    """Register the changes to sources."""
    app.connect("source-read", rewrite_links)
    app.connect("autodoc-process-signature", show_defaults)
    app.connect("autodoc-process-docstring", keep_whole_sentences, priority=400)  # before napoleon, at 500
