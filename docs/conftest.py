"""Doctests of these pages write their files into a folder of their own."""

import pytest


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Change into a new folder."""
    monkeypatch.chdir(tmp_path)
