"""The frame of a page: what is the same for every report of ours."""

from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Final

from edgewise.study.report import palette
from edgewise.study.report.html_parts import paragraph, section

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""The page asks for nothing and runs nothing."""

CSS: Final = Path(__file__).with_name("report.css")


def document(title: str, subtitle: str, parts: Mapping[str, tuple[str, Iterable[str]]], footer: str) -> str:
    """The whole page.

    Args:
        parts: by heading: the name that the contents point to, and pieces of markup. The first is called "what".
    """
    contents = "".join(f'<li><a href="#{name}">{escape(heading)}</a></li>' for heading, (name, _) in parts.items())
    body = "\n".join(section(name, heading, inner) for heading, (name, inner) in parts.items())
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">
<title>{escape(title)} – Edgewise study</title>
<style>
{_variables()}
{CSS.read_text(encoding="utf-8")}</style>
</head>
<body>
<a class="skip" href="#what">To what to do</a>
<header>
<h1>{escape(title)}</h1>
{paragraph(subtitle, "soft")}
<nav aria-label="Contents"><ul>{contents}</ul></nav>
</header>
<main>
{body}
</main>
<footer>{paragraph(footer)}</footer>
</body>
</html>
"""


def _variables() -> str:
    light = "".join(f" --{colour.name}: {colour.light};" for colour in palette.ALL)
    dark = "".join(f" --{colour.name}: {colour.dark};" for colour in palette.ALL)
    # On paper it is the light one, whatever the screen has.
    return f":root {{ --ground: #f5f6f8;{light} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ --ground: #0f1216;{dark} }} }}"
