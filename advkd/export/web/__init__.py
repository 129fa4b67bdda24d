"""A student as a page: static files that any file server gives, and that make images in the browser."""

from advkd.export.web.writing import export_web

__all__ = ["export_web"]
