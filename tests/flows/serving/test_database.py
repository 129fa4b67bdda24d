"""Which database a served Prefect server gets, asked of a real PostgreSQL."""

import signal
from collections.abc import Iterator

import pytest

from flows.serving.database import VARIABLE, DatabaseError, database_settings, look_at_database
from tests.postgres_server import USER, Postgres, serve_postgres

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with serve_postgres() as server:
        yield server


def test_a_database_is_looked_at_before_a_server_starts(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    name = postgres.make_database()
    # A command line without a password, a variable with one.
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    settings = database_settings(postgres.bare_url(name))
    assert look_at_database(settings).startswith("PostgreSQL 1")
    assert settings[VARIABLE] == f"postgresql+asyncpg://{USER}@127.0.0.1:{postgres.port}/{name}"
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv(VARIABLE, postgres.url(name))
    assert f"database {name}" in look_at_database(database_settings(None))

    for url, told in (
        (postgres.url(name, "MARKED-WRONG"), f'password authentication failed for user "{USER}"'),
        (postgres.url("nothing"), 'database "nothing" does not exist'),
    ):
        monkeypatch.setenv(VARIABLE, url)
        with pytest.raises(DatabaseError) as refused:
            look_at_database(database_settings(None))
        assert told in str(refused.value)
        assert not [secret for secret in ("MARKED-WRONG", postgres.password) if secret in str(refused.value)]
    monkeypatch.setenv(VARIABLE, postgres.url(name))
    postgres.stop(signal.SIGQUIT)
    with pytest.raises(DatabaseError, match="Connect call failed"):
        look_at_database(database_settings(None))
    postgres.start()


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            "postgresql://me:MARKED-PASSWORD@host/name",
            "must not hold a password, got one for postgresql://me:***@host/name",
        ),
        ("mysql://host/name", "must be postgresql://user@host:5432/name, got mysql://host/name"),
        ("postgresql://host", "must be postgresql://user@host:5432/name, got postgresql://host"),
        ("host/name", "a database must be a URL such as postgresql://user@host/name"),
    ],
)
def test_what_is_no_database_is_refused_without_its_password(asked: str, told: str) -> None:
    with pytest.raises(DatabaseError) as refused:
        database_settings(asked)
    assert told in str(refused.value)
    assert "MARKED" not in str(refused.value)


def test_sqlite_needs_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert database_settings(None) == {}
    monkeypatch.setenv(VARIABLE, "sqlite+aiosqlite:////x/prefect.db")
    assert database_settings(None) == {}
