"""HTML pages that need nothing outside them, from Jinja templates that escape whatever they are given.

All pages extend the `page.html` of this folder.
"""

from typing import Any


def render(room: str, **context: Any) -> str:
    """The `page.html` of a room of the package, such as "reporting", with these values; a missing value is an
    error."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("noisybench", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(f"{room}/page.html").render(context)
