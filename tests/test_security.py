"""Nothing runs that was not meant to: keys, closed doors, archives that stay in their folder."""

from __future__ import annotations

import io
import json
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Project, build_and_save, encode, noise, render
from engines import one_worker
from generator.workers import ready_workers


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with an archive."""
    path = tmp_path_factory.mktemp("security") / "project"
    render(path, {"architecture": "custom", "num_classes": 4})
    project = Project(path)
    build_and_save(project)
    project.archive()
    one_worker(path)
    return project


def ask(url: str, key: str = "", method: str = "GET", body: bytes | None = None) -> tuple[int, str]:
    """Send a request, with a key or without; return status and body."""
    headers = {"Content-Type": "image/png"}
    request = urllib.request.Request(url, body, headers, method=method)
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.serve
def test_the_doors_are_closed(project: Project, tmp_path: Path) -> None:
    workflow = tmp_path / "workflow.war"
    with zipfile.ZipFile(workflow, "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", "{}")
    with project.serve() as service:
        ready_workers(service.model, 60)
        before = ask(service.model)
        for url in ("image-classifier.mar", workflow.as_uri(), "http://127.0.0.1:9/x.mar"):
            assert ask(f"{service.management}/models?url={url}", method="POST")[0] == 405
        assert ask(service.model, method="DELETE")[0] == 405
        # TorchServe has no switch for workflows, but it takes them only from URLs that are allowed.
        for url in (workflow.as_uri(), "http://127.0.0.1:9/x.war"):
            status, text = ask(f"{service.management}/workflows?url={url}", method="POST")
            assert 400 <= status < 500
            assert "does not match any allowed URL" in text
        assert ask(service.model) == before
        assert service.post(encode(noise(0))).status == 200


@pytest.mark.serve
def test_with_tokens_nobody_comes_in_without_a_key(project: Project) -> None:
    image = encode(noise(0))
    file = project.path / "key_file.json"
    with project.serve("--host", "0.0.0.0", "--tokens") as service:
        assert file.stat().st_mode & 0o777 == 0o600
        keys = json.loads(file.read_text())
        inference, management = keys["inference"]["key"], keys["management"]["key"]
        url = service.url.replace("0.0.0.0", "127.0.0.1")
        models = f"{service.management}/models"
        for key in ("", "wrong", management):
            assert ask(url, key, "POST", image)[0] == 400
        for key in ("", inference):
            assert ask(models, key)[0] == 400
        assert ask(url, inference, "POST", image)[0] == 200
        assert ask(models, management)[0] == 200

        new = f"{service.management}/token?type=inference"
        assert ask(new, management)[0] == 400
        assert ask(new, keys["API"]["key"])[0] == 200
        changed = json.loads(file.read_text())["inference"]["key"]
        assert changed != inference
        assert ask(url, inference, "POST", image)[0] == 400
        assert ask(url, changed, "POST", image)[0] == 200
    assert not file.exists()
    assert "key_file.json" in (project.path / ".gitignore").read_text()


@pytest.mark.parametrize("where", ["option", "inference", "management"])
def test_without_tokens_no_other_machine_is_let_in(
    copy_project: Callable[..., Project], project: Project, where: str
) -> None:
    other = copy_project(architecture="custom", num_classes=4)
    store = other.path / "model-store"
    store.mkdir()
    name = "image-classifier.mar"
    (store / name).write_bytes((project.path / "model-store" / name).read_bytes())
    options = ["--host", "0.0.0.0"] if where == "option" else []
    config = other.path / "config.properties"
    text = config.read_text()
    config.write_text(
        text.replace(f"{where}_address=http://127.0.0.1", f"{where}_address=http://0.0.0.0")
    )
    result = other.run("serve.py", *options)
    assert result.returncode == 1
    assert "tokens are off" in result.stderr
    assert "--tokens" in result.stderr


def escaping_zip(path: Path, name: str) -> None:
    """Write an archive with a member of that name."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", '{"model": {"handler": "handler.py"}}')
        archive.writestr(name, "escaped")


def escaping_tar(path: Path, name: str) -> None:
    """Write an archive with a member of that name."""
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = 7
        archive.addfile(member, io.BytesIO(b"escaped"))


def linking_tar(path: Path, target: str) -> None:
    """Write an archive with a link out of it, and a member that goes through the link."""
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo("model/link")
        link.type, link.linkname = tarfile.SYMTYPE, target
        archive.addfile(link)
        member = tarfile.TarInfo("model/link/escaped")
        member.size = 7
        archive.addfile(member, io.BytesIO(b"escaped"))


def test_archive_members_cannot_escape_their_folder(project: Project, tmp_path: Path) -> None:
    noise(0).save(tmp_path / "image.png")
    target = tmp_path / "target"
    target.mkdir()
    escaping_zip(tmp_path / "absolute.mar", f"{target}/escaped")
    escaping_zip(tmp_path / "relative.mar", "../" * 9 + f"{target}/escaped"[1:])
    escaping_tar(tmp_path / "absolute.tar.gz", f"{target}/escaped")
    escaping_tar(tmp_path / "relative.tar.gz", "model/" + "../" * 9 + f"{target}/escaped"[1:])
    linking_tar(tmp_path / "link.tar.gz", str(target))
    for archive in sorted(tmp_path.glob("*.*ar*")):
        result = project.run("predict.py", "--archive", str(archive), str(tmp_path / "image.png"))
        assert result.returncode == 1, archive
        assert result.stderr.startswith(f"error: {archive}"), result.stderr
        assert not list(target.iterdir()), archive
