"""Sphinx: the documentation as a site that is searched without a network."""

from __future__ import annotations

from oomscope import __version__

project = "oomscope"
copyright = "the oomscope authors"  # noqa: A001 - Sphinx' name for it
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click"]
autodoc_typehints = "description"
html_theme = "furo"
html_title = f"oomscope {__version__}"
html_copy_source = False
html_show_sphinx = False
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
exclude_patterns = ["extra"]
# Links into the sources lead nowhere in a site; a page that is missing is an error.
suppress_warnings = ["myst.xref_missing"]
nitpicky = False
