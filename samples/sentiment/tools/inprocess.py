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

from tools.project import MODEL_NAME, ROOT, ProjectError, in_project

JSON = "application/json"

# BaseHandler warns of every optional package that is not installed.
logging.getLogger("ts").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Reply:
    """What one client would get over HTTP: text as UTF-8, bytes as they are."""

    status: int
    body: str | bytes
    content_type: str = JSON


@dataclass(frozen=True)
class Prediction:
    """A reply whose body is decoded if it is JSON."""

    status: int
    body: Any


class LocalService:
    """A loaded archive. Made by `open_archive`, or `load`.

    Attributes:
        context: what TorchServe tells the handler; the archive's manifest and settings.
        handler: the Handler of service/handler.py.
    """

    def __init__(self, service: Service) -> None:
        self._predict = service._entry_point
        self.context = service.context
        self.handler = service._entry_point.__self__

    def predict(self, rows: Sequence[dict[str, Any]]) -> list[Prediction]:
        """Predict for one batch.

        Args:
            rows: One dict per request, as TorchServe passes them: {"body": <text as UTF-8>}.
        """
        return [
            Prediction(x.status, json.loads(x.body) if x.content_type == JSON else x.body)
            for x in self.reply(rows)
        ]

    def reply(self, rows: Sequence[dict[str, Any]]) -> list[Reply]:
        """Return what goes over the wire for one batch, of rows as `predict` takes them."""
        context = self.context
        context.request_ids = {index: str(index) for index in range(len(rows))}
        context.request_processor = [RequestProcessor({}) for _ in rows]
        bodies = self._predict(list(rows), context)
        return [
            Reply(
                context.get_response_status(index)[0],
                body,
                context.get_response_content_type(index) or JSON,
            )
            for index, body in enumerate(bodies)
        ]

    def scores(self, texts: Sequence[bytes]) -> list[torch.Tensor]:
        """Return the scores that predictions are made of, for each text."""
        return [self.handler.scores([x])[0].cpu() for x in self.handler.read_items(texts)]

    def outputs(self, texts: Sequence[bytes]) -> list[torch.Tensor]:
        """Return what the network itself returns, as float32, for each text alone."""
        return [self.handler.outputs([x])[0].cpu() for x in self.handler.read_items(texts)]

    def outputs_together(self, texts: Sequence[bytes]) -> torch.Tensor:
        """Return the same (N, ...) for texts that go through the network as one batch."""
        return self.handler.outputs(self.handler.read_items(texts)).cpu()


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


def load(path: Path, model_dir: Path) -> LocalService:
    """Load an archive that is unpacked in `model_dir`; `import` must find its modules first.

    Raises:
        ProjectError: It is damaged.
    """
    manifest = model_dir / "MAR-INF" / "MANIFEST.json"
    try:
        handler = json.loads(manifest.read_text(encoding="utf-8"))["model"]["handler"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        command = in_project("python archive.py")
        message = f"{path} has no manifest ({error}); run: {command}"
        raise ProjectError(message) from error
    service = TsModelLoader().load(MODEL_NAME, str(model_dir), handler, gpu_id=None, batch_size=1)
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
        command = in_project("python archive.py")
        raise ProjectError(f"there is no archive {path}; run: {command}") from None
    except ProjectError:
        raise
    except Exception as error:  # a full disk, or whatever a damaged file makes the reader raise
        command = in_project("python archive.py")
        message = f"cannot unpack {path} ({error}); if it is damaged, run: {command}"
        raise ProjectError(message) from error


def refuse_escapes(path: Path, names: Sequence[str]) -> None:
    """Raise ProjectError if an archive would write outside of the folder it is unpacked to."""
    for name in names:
        if name.startswith(("/", "\\")) or ".." in Path(name).parts:
            raise ProjectError(f"{path} would write to {name}; archive.py makes no such file")


@contextlib.contextmanager
def modules_from(folder: Path) -> Iterator[None]:
    """Import the archive's modules and none of the project's, which a server would not have."""
    modules = {path.stem for place in (folder, ROOT) for path in place.glob("*.py")}
    packages = {"service", "tools", *modules}

    def loaded() -> list[str]:  # of a copy: another thread may import something meanwhile
        return [name for name in list(sys.modules) if name.partition(".")[0] in packages]

    own = {name: sys.modules.pop(name) for name in loaded()}
    paths = sys.path
    sys.path = [str(folder), *(path for path in paths if Path(path).resolve() != ROOT)]
    try:
        yield
    finally:
        sys.path = paths
        for name in loaded():
            del sys.modules[name]
        sys.modules.update(own)
