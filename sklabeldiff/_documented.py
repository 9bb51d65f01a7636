"""Where the documentation is, for the links in scikit-learn's HTML representation."""

from __future__ import annotations

import sys

DOCS_URL = "https://sklabeldiff.readthedocs.io/en/stable/"


class DocumentedMixin:
    """Gives an estimator the address of its page; stands left of BaseEstimator."""

    _doc_link_module = "sklabeldiff"
    _doc_link_template = (
        f"{DOCS_URL}api/generated/{{estimator_module}}.{{estimator_name}}.html"
    )

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        """Return module and name that users import, which name the page."""
        kind = type(self)
        parts = [p for p in kind.__module__.split(".") if not p.startswith("_")]
        front = sys.modules[parts[0]]  # imported by now, whoever asks
        in_front = getattr(front, kind.__name__, None) is kind
        module = parts[0] if in_front else ".".join(parts)
        return {"estimator_module": module, "estimator_name": kind.__name__}
