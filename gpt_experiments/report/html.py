"""A report as one self-contained HTML page, light and dark, readable in print."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from gpt_experiments.figures import style
from gpt_experiments.report.document import Document, Picture

# A figure's neutral colours become the page's, so that they turn with it from light to dark.
_COLOURS: Final = {style.INK: "var(--ink)", style.MUTED: "var(--muted)", style.FAINT: "var(--faint)"}


def render_html(document: Document, folder: Path) -> str:
    """The page; it refers to nothing outside itself.

    Args:
        folder: where the document's pictures lie as files.
    """
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
    environment.tests["block"] = lambda block, kind: type(block).__name__ == kind
    template = environment.get_template("report.html.jinja")
    return template.render(document=document, drawing=lambda picture: _drawing(picture, folder))


def _drawing(picture: Picture, folder: Path) -> Markup:
    """The picture as inline SVG, or as an embedded PNG."""
    if picture.as_image:
        data = base64.b64encode((folder / f"{picture.name}.png").read_bytes()).decode()
        return Markup('<img class="paper" alt="{}" src="data:image/png;base64,{}">').format(picture.alt, data)
    svg = (folder / f"{picture.name}.svg").read_text(encoding="utf-8")
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for colour, variable in _COLOURS.items():
        svg = svg.replace(colour.lower(), variable)
    svg = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{picture.name}-", svg)  # several figures share the page
    label = Markup('<svg role="img" aria-label="{}" ').format(picture.alt)
    return label + Markup(svg.removeprefix("<svg "))
