"""The web page of `advkd browse`: shows trajectory stores on disk and in S3, sealed and growing.

    settings.py   settings of the server      catalogue.py  the stores at the given URIs, and which are too large
    store_view.py reads one store             strip.py      the rows of a trajectory
    display.py    values to pixels            sheets.py     many samples in one PNG
    students.py   predictions of students     sorting.py    the order of the samples
    comparing.py  two sides, side by side     overview.py   what many samples show
    export.py     files                       notes.py      flags and notes in a file
    decoding.py   latents to pictures         labels.py     classes and prompts
    access.py     access control              app.py, pages.py, api.py   the routes

Imports torch only for students, decoders and the map of digits, because the server is small without it.
"""

from advkd.browse.app import create_app
from advkd.browse.settings import BrowseSpec

__all__ = [
    "BrowseSpec",
    "create_app",
]
