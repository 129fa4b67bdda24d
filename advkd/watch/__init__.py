"""New teachers: where they may appear, when one is whole, and what is remembered of it. Nothing is started here."""
