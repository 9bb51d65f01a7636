"""Where the documentation is, for the links in scikit-learn's HTML representation."""

from __future__ import annotations

DOCS_URL = "https://sklabeldiff.readthedocs.io/en/stable/"


class DocumentedMixin:
    """Gives an estimator the address of its page; stands left of BaseEstimator."""

    _doc_link_module = "sklabeldiff"
    _doc_link_template = (
        f"{DOCS_URL}api/generated/{{estimator_module}}.{{estimator_name}}.html"
    )
