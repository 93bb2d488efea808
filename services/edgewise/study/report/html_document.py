"""The frame of a page: what is the same for every report of ours."""

from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Final

from edgewise.study.report import palette
from edgewise.study.report.html_parts import paragraph, section

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""The page asks for nothing and runs nothing."""

_CSS: Final = Path(__file__).with_name("report.css")


def document(title: str, subtitle: str, parts: Mapping[str, tuple[str, Iterable[str]]], footer: str) -> str:
    """The whole page of a study.

    Args:
        parts: by heading: the name that the contents point to, and pieces of markup. The first is called "what".
    """
    contents = "".join(f'<li><a href="#{name}">{escape(heading)}</a></li>' for heading, (name, _) in parts.items())
    return framed(
        title,
        subtitle,
        "\n".join(section(name, heading, inner) for heading, (name, inner) in parts.items()),
        footer,
        made_by="Edgewise study",
        skip=("what", "To what to do"),
        contents=f'<nav aria-label="Contents"><ul>{contents}</ul></nav>\n',
    )


def framed(
    title: str,
    subtitle: str,
    body: str,
    footer: str,
    *,
    made_by: str,
    skip: tuple[str, str],
    contents: str = "",
    style: str = "",
) -> str:
    """The whole page.

    Args:
        body: markup, as are `contents`, which stand above it.
        made_by: behind the title, in the browser's bar.
        skip: the name of the first section, and the words of the link to it.
        style: CSS of this kind of page alone.
    """
    first, words = skip
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">
<title>{escape(title)} – {made_by}</title>
<style>
{_variables()}
{_CSS.read_text(encoding="utf-8")}{style}</style>
</head>
<body>
<a class="skip" href="#{first}">{words}</a>
<header>
<h1>{escape(title)}</h1>
{paragraph(subtitle, "soft")}
{contents}</header>
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
