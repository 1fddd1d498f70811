# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Keys for clients, in a file of TorchServe's form."""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import secrets
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

KINDS = ("management", "inference")


class Keys:
    """The keys in a file; whoever changes it, this sees it.

    Args:
        path: The file.
        minutes: For how long a key is taken.
    """

    def __init__(self, path: Path, minutes: float) -> None:
        self._path, self._minutes = path, minutes
        self._state = (0, 0)
        self._keys: dict[str, dict[str, str]] = {}

    def create(self) -> None:
        """Write a file with new keys, for its owner alone."""
        keys = {kind: self._new() for kind in KINDS}
        self._write({**keys, "API": {"key": secrets.token_urlsafe(16)}})

    def renew(self, kind: str) -> None:
        """Put a new key in place of one of KINDS."""
        self._read()
        self._write({**self._keys, kind: self._new()})

    def allow(self, kind: str, authorization: str) -> bool:
        """Tell whether a header "Bearer KEY" has the key of one of KINDS, or of "API"."""
        self._read()
        entry = self._keys.get(kind, {})
        scheme, _, key = authorization.partition(" ")
        expires = entry.get("expiration time")
        return (
            scheme.lower() == "bearer"
            and hmac.compare_digest(key.strip().encode(), entry.get("key", "").encode())
            and bool(entry)
            and (expires is None or datetime.now().astimezone() < datetime.fromisoformat(expires))
        )

    def _new(self) -> dict[str, str]:
        expires = datetime.now().astimezone() + timedelta(minutes=self._minutes)
        return {"key": secrets.token_urlsafe(16), "expiration time": expires.isoformat()}

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            status = self._path.stat()
            state = (status.st_mtime_ns, status.st_ino)
            if state != self._state:
                self._keys = json.loads(self._path.read_text(encoding="utf-8"))
                self._state = state

    def _write(self, keys: dict[str, dict[str, str]]) -> None:
        file, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}-")
        with os.fdopen(file, "w", encoding="utf-8") as stream:  # mkstemp's are the owner's alone
            json.dump(keys, stream, indent=2)
        os.replace(name, self._path)
