"""The database of a Prefect server: a SQLite file below PREFECT_HOME, or PostgreSQL, which several workers need.

A password stands in no command line, where every user of the machine reads it: it comes from PGPASSWORD or `~/.pgpass`,
or with the whole URL from PREFECT_SERVER_DATABASE_CONNECTION_URL.
"""

import asyncio
import os
from collections.abc import Mapping

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

VARIABLE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
_DRIVER = "postgresql+asyncpg"
_PATIENCE_SECONDS = 10.0
_REMEDY = f"the password comes from PGPASSWORD, ~/.pgpass or the whole URL in {VARIABLE}"


class DatabaseError(ValueError):
    """A database that no server can use; the message holds no password."""


def database_settings(asked: str | None) -> dict[str, str]:
    """Returns the settings of a server on PostgreSQL; empty if it shall have its SQLite file.

    Besides the URL, which a server keeps secret, they name the driver, the host and the database: so `advkd doctor` can
    say which one it is.

    Args:
        asked: URL from the command line, as postgresql://user@host:5432/name; None: what VARIABLE says.

    Raises:
        DatabaseError: this is no URL of PostgreSQL, or one from the command line holds a password.
    """
    url = _parsed(asked or os.environ.get(VARIABLE, ""))
    if url is None:
        return {}
    if asked and url.password:
        raise DatabaseError(f"a URL in a command line must not hold a password, got one for {shown(url)}; {_REMEDY}")
    return {
        VARIABLE: url.set(drivername=_DRIVER).render_as_string(hide_password=False),
        "PREFECT_SERVER_DATABASE_DRIVER": _DRIVER,
        "PREFECT_SERVER_DATABASE_HOST": url.host or "",
        "PREFECT_SERVER_DATABASE_NAME": url.database or "",
    }


def _parsed(text: str) -> URL | None:
    if not text:
        return None
    try:
        url = make_url(text.replace("postgres://", "postgresql://", 1) if text.startswith("postgres://") else text)
    except ArgumentError:
        raise DatabaseError(f"a database must be a URL such as postgresql://user@host/name; {_REMEDY}") from None
    if url.get_backend_name() == "sqlite" and text == os.environ.get(VARIABLE):
        return None
    if url.get_backend_name() != "postgresql" or not url.database:
        raise DatabaseError(f"a database must be postgresql://user@host:5432/name, got {shown(url)}; {_REMEDY}")
    return url


def shown(url: URL) -> str:
    """Returns a URL without its password."""
    return url.set(query={}).render_as_string(hide_password=True)


def look_at_database(settings: Mapping[str, str]) -> str:
    """Connects to a server's PostgreSQL once, before a server tries for minutes; returns its version and place.

    Raises:
        DatabaseError: it does not answer, or refuses the user, the password or the name.
    """
    url = make_url(settings[VARIABLE])
    try:
        version = asyncio.run(_version(url))
    except Exception as error:
        said = str(error).partition("\n")[0] or type(error).__name__
        raise DatabaseError(
            f"a Prefect server needs its database, but {shown(url)} said: {said}; start it, or correct its URL "
            f"({_REMEDY})"
        ) from None
    return f"PostgreSQL {version} at {url.host or 'localhost'}, database {url.database}"


async def _version(url: URL) -> str:
    # What Prefect itself connects with.
    import asyncpg

    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(plain, timeout=_PATIENCE_SECONDS)
    try:
        return str(await connection.fetchval("SHOW server_version"))
    finally:
        await connection.close()
