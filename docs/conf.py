from importlib.util import find_spec

from sklabeldiff import __version__

project = "sklabeldiff"
author = "The sklabeldiff developers"
copyright = "2026, The sklabeldiff developers"
release = __version__
version = ".".join(release.split(".")[:2])

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "myst_parser",
    "numpydoc",
    "sphinx_copybutton",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_templates"]

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's Parameters say it with shapes
numpydoc_show_class_members = False  # the class template lists them
# Checked on the public names, with their real signatures. Not asked for: the order
# and presence of optional sections, and dots after one-line return values.
numpydoc_validation_checks = {
    *("GL03", "GL05", "GL06", "GL07"),  # sections: known, in order, well spaced
    *("PR01", "PR02", "PR03", "PR04", "PR10"),  # parameters: all, in order, typed
    *("RT01", "RT03"),  # what is returned
    *("SS01", "SS03", "SS04"),  # a summary, one sentence
}
# Inherited from scikit-learn, so not ours to mend.
numpydoc_validation_exclude = {r"\.(fit_transform|get_params|set_params)$"}

# Without a network these warn, and the links are left out.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", None),
    "numpy": ("https://numpy.org/doc/stable", None),
    "sklearn": ("https://scikit-learn.org/stable", None),
}

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# The gallery runs every script, which takes minutes: install sphinx-gallery to have it.
if find_spec("sphinx_gallery"):
    extensions.append("sphinx_gallery.gen_gallery")
    sphinx_gallery_conf = {
        "examples_dirs": "../examples",
        "gallery_dirs": "auto_examples",
        "filename_pattern": r"/plot_",
        "reference_url": {"sklabeldiff": None},
        "show_memory": False,
    }
    tags.add("gallery")  # type: ignore[name-defined]  # noqa: F821

html_theme = "pydata_sphinx_theme"
html_title = "sklabeldiff"
html_theme_options = {
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
}
html_show_sourcelink = False
