"""The autoencoders of stores and students: copies that travel with them.

<root>/decoders/<sha256>/   one for all stores of a root that have these latents
<student>/decoder/          a student's own, beside its weights; or decoder/ beside the student's folder
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advkd.files import publish, whole_folder, workplace
from advkd.networks.autoencoder import autoencoder_sha256, copy_autoencoder
from storage.care import decoder_uri, is_kept
from storage.folders import fetch_folder
from storage.objects import local_folder

DECODER = "decoder"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeptDecoder:
    """An autoencoder that was kept.

    Attributes:
        uri: of its folder.
        sha256: of its content.
    """

    uri: str
    sha256: str

    def fetch(self, folder: Path) -> None:
        """Copies it into a new local folder.

        Raises:
            StoreError: the object store did not give it.
            OSError: the folder cannot be written, or what was kept is no longer what it was.
        """
        here = local_folder(self.uri)
        if here is None:
            fetch_folder(self.uri, folder)
        else:
            copy_autoencoder(here, folder)
        if autoencoder_sha256(folder) != self.sha256:
            raise OSError(
                f"an autoencoder must be what its folder is named after, got another in {self.uri}; remove that folder "
                "and precompute again, which puts it back"
            )


def keep_decoder(root: str, space: Any) -> None:
    """Puts a copy of a space's autoencoder below a root of stores, unless one is there; other spaces have none.

    Raises:
        OSError: it cannot be written. `StoreError`: the object store did not take it.
    """
    folder = getattr(space, "folder", None)
    if folder is None:
        return
    uri = decoder_uri(root, str(space.facts["sha256"]))
    if is_kept(uri):
        return
    here = local_folder(uri)
    with workplace(uri) as place:
        final = place if here is not None else place / "new"
        final.parent.mkdir(parents=True, exist_ok=True)
        with whole_folder(final, "a decoder") as partial:
            copy_autoencoder(folder, partial)
        publish(final, uri)


def kept_decoder(store: str, facts: Mapping[str, Any] | None) -> KeptDecoder | None:
    """Finds the autoencoder of a store's latents; None for other spaces and, with a warning, if nobody put it there.

    Args:
        store: URI of the store, `<root>/<teacher>/<digest>`.
        facts: of its space.
    """
    if facts is None or facts.get("kind") != "autoencoder":
        return None
    uri = decoder_uri(store.rstrip("/").rpartition("/")[0].rpartition("/")[0], str(facts["sha256"]))
    if is_kept(uri):
        return KeptDecoder(uri, str(facts["sha256"]))
    logger.warning(
        "the autoencoder of this store's latents is not in %s: the student is trained without it; to see its images, "
        "copy the teacher's vae (or vqvae) folder to decoder/ in the student's",
        uri,
    )
    return None


def decoder_places(folder: Path) -> list[str]:
    """Returns where a student's autoencoder may be: in its own folder, or beside it as in an artifact."""
    return [str(folder / DECODER), str(folder.parent / DECODER)]
