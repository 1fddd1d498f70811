# copier update rewrites this file, unless "What is yours" in README.md names it.
"""What a server tells its workers, and they tell it, over the socket between them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# A connection comes with a byte: its place here.
KINDS = ("inference", "management", "metrics")
# To a worker: it is to go, when its clients have had time to ask once more; or soon.
DRAIN, STOP = b"D", b"S"
# From a worker: it has loaded the archive; a connection has ended.
READY, ENDED = b"R", b"E"


@dataclass(frozen=True)
class Plan:
    """What a worker is to do.

    Attributes:
        archive: the folder with the unpacked archive.
        number: of the worker, counted from 0.
        limit: how many requests it may have in hand.
        folder: for its temporary files; why the archive does not load is in ERROR there.
        workers: the file with what is known of all workers, as JSON.
        secure: the kinds of connections with TLS.
        certificate, private_key: for these.
        keys: the file with the keys that clients must show; None if they need none.
        minutes: until a key expires.
        access_log: whether each request gets a line in the log.
        gpus: how many there are.
    """

    archive: Path
    number: int
    limit: int
    folder: Path
    workers: Path
    secure: tuple[str, ...]
    certificate: str
    private_key: str
    keys: Path | None
    minutes: float
    access_log: bool
    gpus: int

    @property
    def error(self) -> Path:
        """The file where a worker writes why the archive does not load."""
        return self.folder / "error.txt"
