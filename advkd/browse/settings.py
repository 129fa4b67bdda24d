"""The settings of a server."""

import ipaddress
from dataclasses import dataclass

from advkd.text import DEFAULT_PORT

_SHORTEST_TOKEN = 16


@dataclass(frozen=True, kw_only=True)
class BrowseSpec:
    """Settings of a server.

    Attributes:
        uris: URIs of stores, or of roots of stores; nothing else can be reached.
        students: students that are shown beside the teachers: folders, `s3://` folders, registered versions.
        runs: folder of the registry with the registered versions, unless MLFLOW_TRACKING_URI names one.
        host: address to bind; all but the loopback need a token.
        port: port to bind; 0 takes a free one.
        decode: whether latents are shown decoded, by the autoencoder that their store keeps.
        notes: file that keeps flags and notes for the next viewer; None: only browsers keep them.
        token: secret that a browser must show once; None: no token.
    """

    uris: tuple[str, ...]
    students: tuple[str, ...] = ()
    runs: str = "runs"
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    decode: bool = False
    notes: str | None = None
    token: str | None = None

    def __post_init__(self) -> None:
        if not self.uris or not all(self.uris):
            raise ValueError(f"BrowseSpec.uris must name a store or a root of stores, got {self.uris}; give at least 1")
        if not 0 <= self.port <= 65535:
            raise ValueError(f"BrowseSpec.port must lie in [0, 65535], got {self.port}; 0 takes a free one")
        if self.token is not None and (len(self.token) < _SHORTEST_TOKEN or not self.token.isascii()):
            raise ValueError(
                f"BrowseSpec.token must be {_SHORTEST_TOKEN} or more ASCII characters, got {len(self.token)}; make one "
                "with `openssl rand -hex 16`"
            )
        if self.token is None and not self.loopback:
            raise ValueError(
                f"a page that other machines can reach needs a token, got host {self.host!r} and none; give --token "
                "(or ADVKD_BROWSE_TOKEN), or keep to 127.0.0.1"
            )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
