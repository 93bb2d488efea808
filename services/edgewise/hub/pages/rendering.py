"""Templates to pages: everything that is put into one is escaped, and a name that a template does not know is an error."""

import hashlib
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from edgewise.core.wording import counted
from edgewise.hub.pages import words
from edgewise.hub.pages.signs import sign
from edgewise.protocols.documents import time_text

ASSETS_PATH: Final = "/assets"
_TYPES: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_FOREVER: Final = "public, max-age=31536000, immutable"
HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""Of every page: nothing from elsewhere, nothing inline, in nobody's frame, kept by no cache."""


class Assets:
    """The style sheet, the script and the mark, in memory; each address carries a digest, so that a browser may keep what it has."""

    def __init__(self) -> None:
        directory = files("edgewise.hub.pages") / "static"
        self._content = {file.name: file.read_bytes() for file in directory.iterdir()}
        self._digest = {name: hashlib.sha256(content).hexdigest()[:16] for name, content in self._content.items()}

    def url(self, name: str) -> str:
        """Where a browser finds one."""
        return f"{ASSETS_PATH}/{self._digest[name]}/{name}"

    def answer(self, digest: str, name: str) -> Response | None:
        """One of them; None when there is none."""
        content = self._content.get(name)
        if content is None or self._digest[name] != digest:
            return None
        headers = {**HEADERS, "cache-control": _FOREVER}
        return Response(content, media_type=_TYPES[name.rpartition(".")[2]], headers=headers)


class Renderer:
    """Makes pages.

    Args:
        clock: the wall clock, in seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.assets = Assets()
        self._environment = Environment(
            loader=PackageLoader("edgewise.hub.pages"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals.update(
            answer=words.answer,
            asset=self.assets.url,
            counted=counted,
            path=path,
            sign=sign,
            visitor=None,
            section="",
            notice="",
        )
        self._environment.filters.update(
            ago=lambda at_s: words.ago(at_s, clock()),
            length_of_time=words.length,
            milliseconds=words.milliseconds,
            moment=words.moment,
            rate=words.rate,
            rfc3339=time_text,
            size=words.size,
            size_or_unknown=_size_or_unknown,
        )

    def page(self, template: str, values: Mapping[str, Any], *, status: int = 200) -> Response:
        """A page, whole."""
        text = self._environment.get_template(template).render(values)
        return HTMLResponse(text, status_code=status, headers=HEADERS)


def path(*parts: str) -> str:
    """An address on this hub, whatever is in a name."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


def _size_or_unknown(count: int | None) -> str:
    return "unknown" if count is None else words.size(count)
