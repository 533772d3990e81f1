"""The OpenAPI document as a page for people. It needs nothing from the network: no script, no style of others."""

import json
from collections.abc import Mapping
from html import escape
from typing import Any

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 56rem; padding: 1rem 1.5rem 4rem; }
h2 { border-top: 1px solid #8884; margin-top: 2.5rem; padding-top: 1.5rem; }
code, pre { font: 14px/1.45 ui-monospace, monospace; }
pre { background: #8881; border-radius: 4px; overflow-x: auto; padding: .75rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid #8883; padding: .3rem .75rem .3rem 0; text-align: left; vertical-align: top; }
:root { color-scheme: light dark; }
"""


def page(document: Mapping[str, Any]) -> str:
    """Return the page: every operation with its parameters, bodies and answers, then every schema."""
    title = escape(document["info"]["title"])
    operations = "".join(
        _operation(method.upper(), path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    )
    schemas = "".join(
        f'<h3 id="{escape(name)}">{escape(name)}</h3><pre>{escape(json.dumps(schema, indent=2))}</pre>'
        for name, schema in document["components"]["schemas"].items()
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>{title}</h1><p>{escape(document['info']['description'])} "
        f'For programs: <a href="/openapi.json">/openapi.json</a>.</p>'
        f"{operations}<h2>Schemas</h2>{schemas}</body></html>"
    )


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    takes = operation.get("requestBody", {}).get("content", {}).get("application/json")
    return (
        f"<section><h2><code>{method} {escape(path)}</code></h2>"
        f"<p>{escape(operation['summary'])}. {escape(operation.get('description', ''))}</p>"
        + _table("Parameter", [_parameter(parameter) for parameter in operation.get("parameters", ())])
        + (f"<p>Body: {_schema(takes)}</p>" if takes else "")
        + _table("Answer", [_answer(status, answer) for status, answer in operation["responses"].items()])
        + "</section>"
    )


def _parameter(parameter: Mapping[str, Any]) -> tuple[str, str]:
    required = ", required" if parameter["required"] else ""
    name = f"<code>{escape(parameter['name'])}</code>"
    return name, f"{escape(parameter['description'])} ({parameter['in']}{required})"


def _answer(status: str, answer: Mapping[str, Any]) -> tuple[str, str]:
    shown = "".join(f" {_schema(content)}" for content in answer.get("content", {}).values())
    return f"<code>{status}</code>", escape(answer["description"]) + shown


def _schema(content: Mapping[str, Any]) -> str:
    name = escape(content["schema"]["$ref"].rpartition("/")[2])
    return f'<a href="#{name}">{name}</a>'


def _table(heading: str, rows: list[tuple[str, str]]) -> str:
    if not rows:
        return ""
    cells = "".join(f"<tr><td>{name}</td><td>{text}</td></tr>" for name, text in rows)
    return f"<table><tr><th>{heading}</th><th></th></tr>{cells}</table>"
