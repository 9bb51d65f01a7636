import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import _inventories

from sklabeldiff import __version__

project = "sklabeldiff"
author = "The sklabeldiff developers"
copyright = "2026, The sklabeldiff developers"
release = __version__
version = ".".join(release.split(".")[:2])

extensions = [
    "matplotlib.sphinxext.plot_directive",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "myst_parser",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["site.css"]
exclude_patterns = ["_build", "_templates", "versions"]

nitpicky = True  # a name that leads nowhere is an error
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

# Where there is no connection, links to scikit-learn are made of its installed names,
# and the others are left out.
_here = Path(__file__).parent / "_build" / "inventories"
intersphinx_mapping = {
    "python": (
        "https://docs.python.org/3",
        (None, _inventories.empty(_here / "python.inv", "Python")),
    ),
    "numpy": (
        "https://numpy.org/doc/stable",
        (None, _inventories.empty(_here / "numpy.inv", "NumPy")),
    ),
    "sklearn": (
        "https://scikit-learn.org/stable",
        (None, _inventories.scikit_learn(_here / "sklearn.inv")),
    ),
}
intersphinx_timeout = 10  # seconds

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Pictures of the idea of a method: drawn at every build, from docs/figures.
plot_formats = [("svg", 100)]
plot_basedir = "figures"
plot_html_show_formats = False
plot_html_show_source_link = False
plot_rcparams = {"svg.fonttype": "none", "figure.facecolor": "white"}

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "within_subsection_order": "_gallery.Order",
    "doc_module": ("sklabeldiff",),
    "backreferences_dir": "api/generated/examples",
    "show_memory": False,
    "show_signature": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "sklabeldiff"
html_theme_options = {
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": {"benchmarks/*": []},  # wide tables need the place
    "header_links_before_dropdown": 7,
    # Of the pages before and after in the index, which are not always a story.
    "show_prev_next": False,
}
html_sidebars = {"auto_examples/**": [], "index": [], "quickstart": []}
html_show_sourcelink = False
html_context = {"default_mode": "auto"}


def setup(app):
    app.connect("source-read", keep_spread_on_a_line)


def keep_spread_on_a_line(app, docname, source):
    # ".803 ± .024 (1)" in a table is one thing.
    if docname.startswith("benchmarks/"):
        source[0] = re.sub(r"(?<=\d)( ± | (?=\())", _unbreakable, source[0])


def _unbreakable(found):
    return found[0].replace(" ", "\N{NO-BREAK SPACE}")
