"""Tools for those who write estimators that learn from candidate sets."""
