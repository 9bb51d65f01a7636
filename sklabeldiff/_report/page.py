"""The file: data, style and script in one page that asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from sklabeldiff._files import write_whole

# One script in several files, in the order in which they build on each other.
_SCRIPTS = (
    *("dom", "data", "decisions", "filters", "table", "detail", "overview"),
    *("confusions", "calibration", "export", "main"),
)
# A script element ends at the first "</script", and "<!--" changes how it is read;
# U+2028 and U+2029 end lines in older JavaScript. JSON has another spelling for all.
_ESCAPES = {c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
_DIGEST_LENGTH = 16


def write_page(path: Path, title: str, document: dict[str, Any]) -> None:
    """Write the page in one step: a reader finds the old file or the new one."""
    text = make_page(title, document)
    # A lone surrogate, as in file names of another encoding, is no UTF-8.
    content = text.encode("utf-8", errors="replace")
    write_whole(path, lambda file: file.write_bytes(content))


def make_page(title: str, document: dict[str, Any]) -> str:
    """Fill the template."""
    style = _read("report.css")
    scripts = "\n".join(_read(f"js/{name}.js") for name in _SCRIPTS)
    script = f'\n"use strict";\n(() => {{\n{scripts}}})();\n'
    parts = {
        "title": html.escape(title),
        "policy": _policy(style, script),
        "style": style,
        "data": to_json({**document, "digest": digest(document)}),
        "script": script,
    }
    # In one pass, so that nothing that was put in is taken for a place to fill.
    return re.sub(r"\{\{(\w+)\}\}", lambda m: parts[m[1]], _read("page.html"))


def to_json(value: Any) -> str:
    """JSON that can stand inside a script element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return text


def digest(document: dict[str, Any]) -> str:
    """Name what decisions are about: the labels and beliefs, not the day."""
    named = {key: document[key] for key in ("labels", "rows")}
    code = json.dumps(named, separators=(",", ":")).encode()
    return hashlib.sha256(code).hexdigest()[:_DIGEST_LENGTH]


def _policy(style: str, script: str) -> str:
    """Allow this style and this script, and no request: a Content-Security-Policy."""
    allowed = {
        "default-src": "'none'",
        "style-src": _source(style),
        "script-src": _source(script),
        "img-src": "data: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {sources}" for name, sources in allowed.items())


def _source(text: str) -> str:
    """Name an inline element by its content: nothing else that is inline may run."""
    code = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(code).decode()}'"


def _read(name: str) -> str:
    return files("sklabeldiff._report").joinpath(name).read_text(encoding="utf-8")
