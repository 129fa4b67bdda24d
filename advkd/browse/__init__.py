"""The web page of `advkd browse`: shows trajectory stores on disk and in S3, sealed and growing.

    settings.py   settings of the server      catalogue.py  the stores at the given URIs
    store_view.py reads one store             marks.py      its unreadable shards
    display.py    values to pixels            sheets.py     many samples in one PNG
    students.py   predictions of students     sorting.py    the order of the samples
    histograms.py, error_curve.py, sample_map.py   what many samples show
    export.py, downloads.py   files             notes.py    flags and notes in a file
    decoding.py   latents to pictures         labels.py   classes and prompts
    access.py     access control              app.py, pages.py, api.py, samples_api.py   the routes
    limits.py     stores that are too large

Imports torch only if a student or a classifier is needed, because the server is small without it.
"""

from advkd.browse.app import create_app
from advkd.browse.settings import BrowseSpec

__all__ = [
    "BrowseSpec",
    "create_app",
]
