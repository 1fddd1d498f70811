# copier update rewrites this file, unless "What is yours" in README.md names it.
"""Runs the archive in this process, as a TorchServe worker would: its loader, but no server."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ts.context import RequestProcessor
from ts.model_loader import TsModelLoader
from ts.service import Service

from project import MODEL_NAME, ROOT, ProjectError

# BaseHandler warns of every optional package that is not installed.
logging.getLogger("ts").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Reply:
    """What one client would get: the HTTP status and the body, which is JSON text."""

    status: int
    text: str


@dataclass(frozen=True)
class Answer:
    """A reply whose JSON body is decoded."""

    status: int
    body: Any


class LocalService:
    """A loaded archive. Made by `open_archive`, or `load`.

    Attributes:
        context: what TorchServe tells the handler; the archive's manifest and settings.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self.context = service.context

    def predict(self, rows: Sequence[dict[str, Any]]) -> list[Answer]:
        """Answer one batch.

        Args:
            rows: One dict per request, as TorchServe passes them: {"body": <image bytes>}.
        """
        return [Answer(reply.status, json.loads(reply.text)) for reply in self.reply(rows)]

    def reply(self, rows: Sequence[dict[str, Any]]) -> list[Reply]:
        """Answer one batch, for rows as `predict` takes them, with what goes over the wire."""
        context = self.context
        context.request_ids = {index: str(index) for index in range(len(rows))}
        context.request_processor = [RequestProcessor({}) for _ in rows]
        texts = self._service._entry_point(list(rows), context)
        return [
            Reply(context.get_response_status(index)[0], text) for index, text in enumerate(texts)
        ]

    def probabilities(self, pictures: Sequence[bytes]) -> torch.Tensor:
        """Return the probability of every class (N, C) for N picture files."""
        handler = self._service._entry_point.__self__
        return handler.inference(torch.stack(handler.read_pictures(pictures))).cpu()

    def outputs(self, pictures: Sequence[bytes]) -> torch.Tensor:
        """Return what the network itself returns (N, C) for N picture files."""
        handler = self._service._entry_point.__self__
        with torch.inference_mode():
            return handler.outputs(torch.stack(handler.read_pictures(pictures))).cpu()


@contextlib.contextmanager
def open_archive(path: Path) -> Iterator[LocalService]:
    """Load an archive through TorchServe's own loader.

    Args:
        path: A .mar or .tar.gz file, or a folder made with --format no-archive.

    Raises:
        ProjectError: There is no such archive, or it is damaged.
    """
    with tempfile.TemporaryDirectory(prefix=f"{MODEL_NAME}-") as folder:
        model_dir = unpack(path, Path(folder))
        with modules_from(model_dir):
            yield load(path, model_dir)


def load(path: Path, model_dir: Path, gpu_id: int | None = None) -> LocalService:
    """Load an archive that is unpacked in `model_dir`; `import` must find its modules first.

    Raises:
        ProjectError: It is damaged.
    """
    manifest = model_dir / "MAR-INF" / "MANIFEST.json"
    try:
        handler = json.loads(manifest.read_text(encoding="utf-8"))["model"]["handler"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        message = f"{path} has no manifest ({error}); run: python archive.py"
        raise ProjectError(message) from error
    service = TsModelLoader().load(MODEL_NAME, str(model_dir), handler, gpu_id, batch_size=1)
    return LocalService(service)


def is_archive(folder: Path) -> bool:
    """Tell whether a folder is an archive that was made with --format no-archive."""
    return (folder / "MAR-INF" / "MANIFEST.json").is_file()


def unpack(path: Path, folder: Path) -> Path:
    """Return the folder with the archive's content."""
    if is_archive(path):
        return path.resolve()
    try:
        if path.name.endswith(".tar.gz"):
            with tarfile.open(path) as archive:
                # Without links, which could lead out of the folder.
                members = [x for x in archive.getmembers() if x.isfile() or x.isdir()]
                refuse_escapes(path, [member.name for member in members])
                # Python before 3.11.4 has no such filter.
                archive.extraction_filter = getattr(tarfile, "data_filter", None)
                archive.extractall(folder, members)
            return next(folder.iterdir())
        with zipfile.ZipFile(path) as archive:
            refuse_escapes(path, archive.namelist())
            archive.extractall(folder)
        return folder
    except (FileNotFoundError, IsADirectoryError):
        raise ProjectError(f"there is no archive {path}; run: python archive.py") from None
    except ProjectError:
        raise
    except Exception as error:  # a full disk, or whatever a damaged file makes the reader raise
        message = f"cannot unpack {path} ({error}); if it is damaged, run: python archive.py"
        raise ProjectError(message) from error


def refuse_escapes(path: Path, names: Sequence[str]) -> None:
    """Raise ProjectError if an archive would write outside of the folder it is unpacked to."""
    for name in names:
        if name.startswith(("/", "\\")) or ".." in Path(name).parts:
            raise ProjectError(f"{path} would write to {name}; archive.py makes no such file")


@contextlib.contextmanager
def modules_from(folder: Path) -> Iterator[None]:
    """Import the archive's modules and none of the project's, which a server would not have."""
    names = {path.stem for place in (folder, ROOT) for path in place.glob("*.py")}
    own = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    paths = sys.path
    sys.path = [str(folder), *(path for path in paths if Path(path).resolve() != ROOT)]
    try:
        yield
    finally:
        sys.path = paths
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(own)
