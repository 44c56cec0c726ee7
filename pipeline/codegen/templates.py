"""Longer generated texts: Jinja templates in firmware_templates, which a person can read. A name they lack is an error."""

from __future__ import annotations

from functools import cache
from typing import Any

import jinja2

from pipeline.codegen.c_text import comment_text, float_literal, string_text
from pipeline.locations import data_dir


def render(template: str, **values: Any) -> str:
    """The text of `template`, a path below firmware_templates. Filters: `comment` and `string` make a text safe there in C,
    `c_float` writes a number that reads back as it is."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(data_dir("firmware_templates")),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters |= {"c_float": float_literal, "comment": comment_text, "string": string_text}
    return environment
