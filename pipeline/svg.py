"""What every picture that is written as SVG text has around it."""

from __future__ import annotations

INK = "#222"  # of text


def document(width: int, height: int, picture: str) -> str:
    """An SVG document, complete in itself, on white; sizes in px."""
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" \
font-family="Helvetica, Arial, sans-serif" font-size="11" fill="{INK}">
<rect width="{width}" height="{height}" fill="white"/>
{picture}
</svg>
"""
