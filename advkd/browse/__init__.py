"""`advkd browse`: trajectory stores as a web page, on disk and in S3, sealed and growing.

    command.py    the command line            settings.py   what is shown, where, to whom
    catalogue.py  which stores there are      looking.py    one store: reading, what is wrong with it, growth
    display.py    values to pixels            sheets.py     many samples in one PNG
    chains.py     a sample beside students    orders.py     which samples first
    access.py     who may ask                 app.py, pages.py, api.py   the routes

Imports torch only where a student or a classifier is asked for: the server is small without.
"""

from advkd.browse.app import create_app
from advkd.browse.settings import BrowseSpec

__all__ = [
    "BrowseSpec",
    "create_app",
]
