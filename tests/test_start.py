"""The page of `ts-template start`, asked as the page asks, and in a real browser."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import pytest
from copier import Settings, run_copy
from test_demo_page import browser, needs_chromium, opened
from test_new_data import write_folders

import handwritten
from conftest import REPOSITORY, encode, noise, save_random_weights, ts_template
from generator import conditions, facts
from generator.errors import UserError
from generator.options import parse, questions
from generator.page import files
from generator.page.rendering import Form
from generator.rendering import plain_copy, render, runner
from test_commands import commit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["browser"]
pytestmark = pytest.mark.serve


@dataclass(frozen=True)
class Start:
    """A running page.

    Attributes:
        address: what it printed, with the token.
        folder: the folder that it was started with.
    """

    address: str
    folder: Path

    def ask(self, name: str, **content: Any) -> tuple[int, Any]:
        """Return the status and the JSON of a reply."""
        origin = self.address.rpartition("/")[0].rpartition("/")[0]
        status, text = self.send("POST", f"api/{name}", json.dumps(content), {"Origin": origin})
        return status, json.loads(text)

    def drop(self, name: str, content: bytes) -> tuple[int, Any]:
        """Return the status and the JSON of the reply to a file that is dropped."""
        origin = self.address.rpartition("/")[0].rpartition("/")[0]
        kind = {"Origin": origin, "Content-Type": "application/octet-stream"}
        status, text = self.send("POST", f"api/drop?{urlencode({'name': name})}", content, kind)
        return status, json.loads(text)

    def make(self, **content: Any) -> tuple[str, str]:
        """Make a project; return what is printed, and the exit status."""
        origin = self.address.rpartition("/")[0].rpartition("/")[0]
        status, text = self.send("POST", "api/make", json.dumps(content), {"Origin": origin})
        assert status == 200, text
        printed, _, code = text.partition("\0")
        return printed, code

    def send(
        self,
        method: str,
        name: str,
        body: str | bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, str]:
        """Return the status and the text of a reply; a name that begins with / has no token."""
        place = urlsplit(self.address)
        connection = HTTPConnection(place.netloc, timeout=60)
        kind = {"Content-Type": "application/json"} if body is not None else {}
        path = name if name.startswith("/") else place.path + name
        connection.request(method, path, body, {**kind, **(headers or {})})
        reply = connection.getresponse()
        text = reply.read().decode()
        assert "default-src 'none'" in (reply.headers["Content-Security-Policy"] or "")
        connection.close()
        return reply.status, text


@contextlib.contextmanager
def started(folder: Path) -> Iterator[str]:
    """Run the page of a folder; yield the address that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "generator.cli", "start", "--no-open", str(folder)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """The page of a folder with a checkpoint, labels and an image."""
    from torchvision.models import mobilenet_v3_small

    folder = tmp_path_factory.mktemp("start") / "chosen"
    (folder / "runs").mkdir(parents=True)
    (folder.parent / "secret.txt").write_text("secret")
    (folder / "outside").symlink_to(folder.parent)
    save_random_weights(mobilenet_v3_small(num_classes=3), folder / "runs" / "best.pth")
    (folder / "runs" / "<b>names.txt").write_text("cat\ndog\nhorse\n")
    noise(0).save(folder / "image.png")
    for name, text in handwritten.BASE.items():
        path = folder / "by-hand" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.removeprefix("\n"))
    flowers = mobilenet_v3_small(num_classes=3)
    save_random_weights(flowers, folder / "by-hand" / "flowers_mobilenet.pth")
    with started(folder) as address:
        yield Start(address, folder.resolve())
    assert not [*folder.glob(".ts-template-*")]  # what was dropped is gone


# ------------------------------------------------------------------------------------ who is let in


def test_only_the_page_itself_with_its_token_is_let_in(start: Start) -> None:
    place = urlsplit(start.address)
    own = f"http://{place.netloc}"
    body = json.dumps({"folder": ""})
    assert place.hostname == "127.0.0.1"
    assert len(place.path) > 24
    assert start.send("GET", "")[0] == 200
    assert start.send("POST", "api/files", body, {"Origin": own})[0] == 200
    # Without the token, or with another.
    for path in ("/", "/index.html", "/page.js", "/api/files", "/%2e%2e/api/files", "/wrong/"):
        assert start.send("GET", path)[0] == 403
    assert start.send("POST", "/wrong/api/files", body, {"Origin": own})[0] == 403
    # A name of another site that leads here, as in DNS rebinding.
    for host in ("evil.example", f"evil.example:{place.port}", "127.0.0.1", "127.0.0.1:1"):
        assert start.send("GET", "", headers={"Host": host})[0] == 421
    # A form, or a script, of another page.
    for origin in ("http://evil.example", "null", own.replace("http:", "https:")):
        assert start.send("POST", "api/files", body, {"Origin": origin})[0] == 403
    assert start.send("POST", "api/files", body)[0] == 403
    plain = {"Origin": own, "Content-Type": "text/plain"}
    assert start.send("POST", "api/files", body, plain)[0] == 415
    long = {"Origin": own, "Content-Length": "9000000"}
    assert start.send("POST", "api/files", body, long)[0] == 413
    assert start.send("GET", "../../files.py")[0] == 404
    assert start.send("GET", "%2e%2e/server.py")[0] == 404


def test_it_listens_on_this_machine_alone(start: Start) -> None:
    port = urlsplit(start.address).port
    with (
        pytest.raises(ConnectionRefusedError),
        socket.create_connection(("127.0.0.2", port), timeout=5),
    ):
        pass


@pytest.mark.parametrize("name", ["..", "../secret.txt", "/etc", "outside", "runs/../..", "a\0b"])
def test_paths_that_lead_out_of_the_folder_are_refused(start: Start, name: str) -> None:
    given = {"weights": "runs/best.pth", "destination": "new", "answers": {}}
    for asked in (
        start.ask("files", folder=name),
        start.ask("inspect", weights=name, answers={}),
        start.ask("inspect", weights="runs/best.pth", labels=name, answers={}),
        start.ask("inspect", weights="runs/best.pth", model=name, answers={}),
        start.ask("inspect", service=name, answers={}),
        start.ask("inspect", data=name, answers={}),
        start.ask("preview", data=name, answers={}),
        start.ask("make", data=name, destination="new", answers={}),
        start.ask("make", data="runs", start=name, destination="new", answers={}),
        start.ask("inspect", service="by-hand", weights=name, answers={}),
        start.ask("preview", service=name, answers={}),
        start.ask("preview", project=name, answers={}),
        start.ask("project", project=name),
        start.ask("change", project=name, answers={}),
        start.ask("make", service=name, answers={}),
        start.ask("make", service="by-hand", labels=name, answers={}),
        start.ask("make", destination=name, answers={}),
        start.ask("make", destination="new", model=name, answers={}),
        *(start.ask("make", **{**given, key: name}) for key in ("destination", "weights")),
        *(start.ask("make", **{**given, key: name}) for key in ("labels", "picture")),
    ):
        status, content = asked
        assert status == 400
        assert "outside" in content["error"] or "no path" in content["error"]
    assert not (start.folder / "new").exists()


def test_only_what_is_in_the_folder_is_listed(start: Start) -> None:
    _, found = start.ask("files", folder="")
    names = [entry["name"] for entry in found["entries"]]
    assert {"runs", "image.png"} <= {*names}
    assert "outside" not in names
    _, found = start.ask("files", folder="runs")
    assert [entry["path"] for entry in found["entries"]] == ["runs/<b>names.txt", "runs/best.pth"]
    assert found["parent"] == "."
    status, found = start.ask("files", folder="runs/best.pth")
    assert (status, "cannot be read" in found["error"]) == (400, True)


def test_links_in_a_chosen_folder_that_lead_out_of_the_folder_are_refused(start: Start) -> None:
    service = start.folder / "linked"
    (service / "a").mkdir(parents=True)
    (service / "handler.py").write_text(handwritten.BASE["handler.py"])
    (service / "a" / "service").symlink_to(start.folder.parent)
    for asked in (
        start.ask("inspect", service="linked", answers={}),
        start.ask("preview", service="linked", answers={}),
        start.ask("make", service="linked", answers={}),
        start.ask("inspect", data="linked", answers={}),
        start.ask("make", data="linked", destination="new", answers={}),
    ):
        assert (asked[0], "outside" in asked[1]["error"]) == (400, True)
    shutil.rmtree(service)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("best.pth", "best.pth"),
        ("../../best.pth", "best.pth"),
        ("..\\..\\best.pth", "best.pth"),
        ("/etc/passwd", "passwd"),
        ("..", "file"),
        ("", "file"),
        (".bashrc", "bashrc"),
        ("a\0b\n<i>.png", "a_b__i_.png"),
        ("Köln 猫 (1).txt", "Köln 猫 (1).txt"),
        (f"{'é' * 400}.safetensors", f"{'é' * 94}.safetensors"),
    ],
)
def test_a_dropped_file_stays_in_a_folder_of_its_own(start: Start, name: str, kept: str) -> None:
    status, found = start.drop(name, b"content")
    path = start.folder / found["path"]
    assert (status, found["name"], path.read_bytes()) == (200, kept, b"content")
    hidden = path.parents[1]
    assert (hidden.parent, path.resolve()) == (start.folder, path)
    assert hidden.name.startswith(".ts-template-start-")
    assert hidden.stat().st_mode & 0o077 == 0
    _, found = start.ask("files", folder="")
    assert hidden.name not in [entry["name"] for entry in found["entries"]]


def test_only_the_page_itself_drops_files_and_no_large_ones(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"Origin": f"http://{urlsplit(start.address).netloc}"}
    kind = {"Content-Type": "application/octet-stream"}
    name = "api/drop?name=a.png"
    assert start.send("POST", name, "a", {**own, **kind})[0] == 200
    assert start.send("POST", name, "a", kind)[0] == 403
    assert start.send("POST", name, "a", {**kind, "Origin": "http://evil.example"})[0] == 403
    assert start.send("POST", f"/wrong/{name}", "a", {**own, **kind})[0] == 403
    assert start.send("POST", name, "a", own)[0] == 415
    assert start.send("POST", "api/files", "a", {**own, **kind})[0] == 415
    large = {"Content-Length": str(files.LARGEST_FILE + 1)}
    assert start.send("POST", name, "a", {**own, **kind, **large})[0] == 413
    assert start.send("GET", name)[0] == 404

    monkeypatch.setattr(files, "LARGEST_FILES", 10)
    dropped = files.Dropped(tmp_path)
    dropped.place("a", 6).write_text("abcdef")
    with pytest.raises(UserError, match="too large to be dropped"):
        dropped.place("b", 5)
    dropped.close()
    assert not [*tmp_path.iterdir()]


def test_many_files_are_not_all_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MANY", 3)
    for number in range(5):
        (tmp_path / f"{number}").touch()
    found = files.listing(tmp_path.resolve(), "")
    assert (len(found["entries"]), found["left_out"]) == (3, 2)


# ------------------------------------------------------------------------------ questions and files


def test_the_files_are_those_that_copier_writes(start: Start, tmp_path: Path) -> None:
    answers = {"project_name": "Köln <b>", "num_classes": 7, "deploy": ["asgi"], "mean": [0.5]}
    answers |= {"transforms": "custom", "color_mode": "L", "response_format": "label"}
    texts = {name: x if isinstance(x, str | list) else json.dumps(x) for name, x in answers.items()}
    status, found = start.ask("preview", answers={**texts, "mean": "[0.5]", "top_k": 5})
    assert status == 200
    render(tmp_path / "project", answers, plain_copy(tmp_path / "template"))
    expected = {
        path.relative_to(tmp_path / "project").as_posix(): path.read_text("utf-8")
        for path in (tmp_path / "project").rglob("*")
        if path.is_file()
    }
    name = ".copier-answers.yml"
    assert {**found["files"], name: ""} == {**expected, name: ""}
    assert "top_k" not in found["command"]  # it is not asked with this response
    words = shlex.split(found["command"].removeprefix(runner()))
    assert words[:3] == ["copier", "copy", "--defaults"]
    assert parse(words[place + 1] for place, word in enumerate(words) if word == "-d") == answers


@pytest.mark.parametrize(
    ("answers", "name", "message"),
    [
        ({"num_classes": "0"}, "num_classes", "write 2 or more"),
        ({"num_classes": "many"}, "num_classes", "is not a whole number"),
        ({"num_classes": "[1"}, "num_classes", "is not a whole number"),
        ({"model_name": "a b"}, "model_name", "model_name"),
        ({"architecture": "resnet19"}, "architecture", "resnet19"),
        ({"backend": "none"}, "backend", "choice"),
        ({"task": "object_detection", "architecture": "resnet18"}, "architecture", "is a classif"),
        ({"deploy": ["nowhere"]}, "deploy", "nowhere"),
        ({"deploy": "asgi"}, "deploy", "is no list"),
    ],
)
def test_what_is_refused_is_said_beside_its_question(
    start: Start, answers: dict[str, Any], name: str, message: str
) -> None:
    status, found = start.ask("preview", answers=answers)
    problems = {x["name"]: x["problem"] for x in found["questions"] if x["problem"]}
    assert (status, found["files"], [*problems]) == (200, None, [name])
    assert message in problems[name]


def test_questions_that_do_not_apply_have_the_reason(start: Start) -> None:
    answers = {"task": "object_detection"}
    _, found = start.ask("preview", answers=answers, has_reasons=True)
    by_name = {question["name"]: question for question in found["questions"]}
    assert by_name["score_threshold"]["is_asked"]
    assert not by_name["checkpoint_key"]["is_asked"]
    assert by_name["checkpoint_key"]["reason"] == "Asked if weights is checkpoint"
    assert (
        by_name["wide_tail"]["reason"] == "Asked if architecture is ssdlite320_mobilenet_v3_large"
    )
    assert {"family", "change_rest"}.isdisjoint(by_name)  # the terminal's alone


def test_each_reason_names_answers_with_which_the_question_is_asked() -> None:
    form = Form()
    checked = set()
    for given in [*({"task": task} for task in facts.tasks()), {"weights": "onnx"}]:
        rows = list(form.filled_in(given))
        before = dict(form.assumed)
        for row in rows:
            if row["is_asked"]:
                assert conditions.asked_if(row["name"], before) == ""
                continue
            tree = conditions.condition(row["name"])
            changes = [*conditions.changes_of(tree, before)]
            assert changes, row["name"]
            names = [name for name, _ in changes[0]]
            for values in itertools.product(*(each for _, each in changes[0])):
                list(form.filled_in({**given, **dict(zip(names, values, strict=True))}))
                if not conditions.asked_if(row["name"], form.assumed):
                    checked.add(row["name"])
                    break
            words = conditions.asked_if(row["name"], before)
            assert not re.search(r"[{}\[\]]|_facts|==|defined", words)
            named = re.findall(r"(\w+) is ", words)
            assert named and {*named} <= {*questions()}
    with_condition = {name for name, question in questions().items() if question.condition}
    assert checked == with_condition - facts.ways()


def test_a_network_to_be_trained_from_nothing_is_shown_as_new_makes_it(start: Start) -> None:
    answers = {"task": "object_detection", "architecture": "fasterrcnn_resnet50_fpn"}
    asked = {"answers": {**answers, "training": True}, "data": "runs"}
    for from_scratch in (False, True):
        _, found = start.ask("preview", **asked, from_scratch=from_scratch)
        text = found["files"][".copier-answers.yml"]
        assert f"coco_eps: {'false' if from_scratch else 'true'}\n" in text
        assert "coco_eps" not in found["command"]  # it follows


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"answers": 1}', '{"answers": {"task": {}}}'])
def test_what_is_no_request_of_the_page_is_refused(start: Start, body: str) -> None:
    origin = {"Origin": f"http://{urlsplit(start.address).netloc}"}
    status, text = start.send("POST", "api/preview", body, origin)
    assert status == 400 or '"problem"' in text
    assert start.ask("preview", answers={})[0] == 200


def test_what_another_answer_would_change_is_shown(start: Start, released_template: Path) -> None:
    project = start.folder / "service"
    answers = {"architecture": "custom", "num_classes": 4, "label_format": "none"}
    settings = Settings()
    options = {"defaults": True, "quiet": True, "settings": settings}
    run_copy(str(released_template), project, data=answers, **options)
    commit(project)
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    status, found = start.ask("change", project="service", answers={"num_classes": 7})
    assert (status, found["conflicts"], found["unused"]) == (200, [], [])
    assert {".copier-answers.yml", "service/__init__.py"} <= {*found["files"]}
    marked = ["".join(text for _, text in line) for line in found["lines"]]
    assert "+num_classes: 7" in marked and "-num_classes: 4" in marked
    assert "copier update" in found["command"] and "-d num_classes=7" in found["command"]
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before
    status, found = start.ask("change", project="runs", answers={})
    assert status == 400 and "runs" in found["error"]
    shutil.rmtree(project)


# --------------------------------------------------------------------- a service written by hand


def test_a_service_becomes_what_the_preview_shows(start: Start) -> None:
    service = start.folder / "by-hand"
    status, found = start.ask("inspect", service="by-hand", answers={"top_k": "3"})
    assert status == 200
    assert "is no git checkout with a commit that holds them. Run: cd " in found["problem"]
    assert found["known"]["architecture"] == "mobilenet_v3_small"
    assert found["known"]["num_classes"] == 3
    assert "handler.py:" in found["places"]["num_classes"]
    assert "handler: handler.py, derived from TorchServe's BaseHandler" in found["report"]
    assert "top_k" not in found["known"]
    answers = {**found["likely"], **found["known"], "top_k": "3"}
    given = {"top_k": "3"}
    status, shown = start.ask("preview", service="by-hand", answers=answers, given=given)
    assert (status, shown["error"]) == (200, "")
    assert "ts-template adopt" in shown["command"] and "-d top_k=3" in shown["command"]
    assert "-d num_classes" not in shown["command"]
    assert {"README.md": "README.md"}.items().isdisjoint(shown["replaced"].items())
    assert shown["replaced"]["handler.py"] == "service/handler.py"
    assert "secrets.env" in shown["files"][".gitignore"]  # theirs
    before = {path: path.read_bytes() for path in service.rglob("*") if path.is_file()}

    # What is not committed is not replaced, and it says so in full.
    printed, code = start.make(service="by-hand", answers=given)
    assert code == "1"
    assert "is no git checkout with a commit that holds them. Run: cd " in printed
    assert {path: path.read_bytes() for path in service.rglob("*") if path.is_file()} == before

    commit(service)
    assert start.ask("inspect", service="by-hand", answers={})[1]["problem"] == ""
    printed, code = start.make(service="by-hand", answers=given)
    assert (code, "4. Your files" in printed) == ("0", True)
    name = ".copier-answers.yml"
    for path, text in shown["files"].items():
        assert path == name or (service / path).read_text("utf-8") == text, path
    assert "top_k: 3" in (service / name).read_text("utf-8")
    status, found = start.ask("inspect", service="by-hand", answers={})
    assert (status, "is a project already" in found["error"]) == (400, True)


def test_what_is_no_service_is_refused_in_full(start: Start) -> None:
    status, found = start.ask("inspect", service="runs", answers={})
    assert (status, "has no handler of TorchServe's kind" in found["error"]) == (400, True)
    printed, code = start.make(service="runs", answers={})
    assert (code, "has no handler of TorchServe's kind" in printed) == ("1", True)


# ------------------------------------------------------------------- a project without a checkpoint


def test_a_project_is_made_without_a_checkpoint(start: Start) -> None:
    labels = "runs/<b>names.txt"
    _, found = start.ask("inspect", labels=labels, answers={})
    assert found["known"]["num_classes"] == 3
    answers = {"project_name": "Later", "top_k": "2"}
    _, shown = start.ask("preview", answers={**found["known"], **answers})
    printed, code = start.make(labels=labels, destination="later", answers=answers)
    assert code == "0", printed
    project = start.folder / "later"
    assert f"{project} is rendered. Next:" in printed
    assert "python archive.py    # first put your state_dict into weights/\n" in printed
    name = shown["files"].keys() - {".copier-answers.yml", *found["known"]}
    for path in name - {"labels.txt"}:
        assert (project / path).read_text("utf-8") == shown["files"][path], path
    assert (project / "labels.txt").read_text("utf-8").split() == ["cat", "dog", "horse"]

    printed, code = start.make(destination="later", answers=answers)
    assert (code, "exists; name another folder" in printed) == ("1", True)
    printed, code = start.make(destination="none", answers={"num_classes": 0})
    assert (code, "write 2 or more" in printed) == ("1", True)
    assert not (start.folder / "none").exists()
    for wrong in ({"--help": 1}, {"num_classes": "[1"}):
        status, found = start.ask("make", destination="none", answers=wrong)
        assert (status, found["error"].startswith("-d ")) == (400, True)
    shutil.rmtree(project)


# ------------------------------------------------------------------------------------ the command


def test_a_folder_or_port_that_cannot_be_used_is_refused(start: Start, tmp_path: Path) -> None:
    result = ts_template("start", str(tmp_path / "none"), "--no-open")
    assert (result.returncode, "there is no folder" in result.stderr) == (1, True)
    port = str(urlsplit(start.address).port)
    result = ts_template("start", "--no-open", "--port", port, str(tmp_path))
    assert (result.returncode, "name another" in result.stderr) == (1, True)


# ------------------------------------------------------------------------------------- in a browser


# What those miss who hear the page, use the keyboard or see little: controls without a name, or out
# of their order, ids that are there twice or nowhere, regions without a name, and faint text.
ACCESSIBLE = """(() => {
    const wrong = [];
    const all = [...document.querySelectorAll("body *")].filter(x => x.checkVisibility());
    const named = x => x.getAttribute("aria-label")?.trim()
        || (x.getAttribute("aria-labelledby") ?? "").split(" ").some(
            id => id && document.getElementById(id)?.textContent.trim())
        || [...x.labels ?? []].some(label => label.textContent.trim())
        || (["BUTTON", "SUMMARY"].includes(x.tagName) && x.textContent.trim())
        || (x.tagName === "FIELDSET" && x.querySelector("legend")?.textContent.trim());
    for (const x of all) {
        const what = `${x.tagName} ${x.id} ${x.className}`;
        if (x.matches("button, input, select, summary, fieldset, form, [tabindex], [role=region]")
            && !named(x)) wrong.push(`no name: ${what}`);
        if (x.tabIndex > 0) wrong.push(`out of order: ${what}`);
        for (const name of ["aria-describedby", "aria-labelledby"])
            for (const id of (x.getAttribute(name) ?? "").split(" ").filter(Boolean))
                if (!document.getElementById(id)) wrong.push(`no ${id}: ${what}`);
    }
    const ids = [...document.querySelectorAll("[id]")].map(x => x.id);
    wrong.push(...ids.filter((id, place) => ids.indexOf(id) !== place).map(id => `twice: ${id}`));
    const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const light = (colour, under) => {
        canvas.fillStyle = under;
        canvas.fillRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const parts = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map(x => x / 255);
        const linear = parts.map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
    const canvasColour = isDark ? "#121212" : "#ffffff";  // Chromium's
    for (const x of all) {
        if (![...x.childNodes].some(y => y.nodeType === 3 && y.textContent.trim())) continue;
        if (x.matches(":disabled, option")) continue;
        let under = x;
        const colourOf = y => getComputedStyle(y).backgroundColor;
        while (under && colourOf(under) === "rgba(0, 0, 0, 0)") under = under.parentElement;
        const behind = under ? colourOf(under) : canvasColour;
        const pair = [light(getComputedStyle(x).color, behind), light(behind, canvasColour)];
        const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
        if (ratio < 4.5) wrong.push(`faint, ${ratio.toFixed(1)}: ${x.tagName} ${x.textContent}`);
    }
    return wrong;
})()"""


def choose(page: Page, what: str, *names: str) -> None:
    """Choose a file of the page's own browser."""
    page.get_by_role("button", name=f"Choose {what}").click()
    for name in names:
        page.get_by_role("dialog").get_by_role("button", name=name, exact=True).click()


@needs_chromium
def test_from_a_checkpoint_to_a_prediction_by_clicks_alone(start: Start, browser: Browser) -> None:
    from playwright.sync_api import expect

    with opened(browser, start.address) as page:
        choose(page, "a checkpoint", "runs/", "best.pth")
        choose(page, "labels", "runs/", "<b>names.txt")
        expect(page.get_by_label("num_classes", exact=True)).to_have_value("3", timeout=60_000)
        assert page.locator("#row-num_classes .mark").inner_text() == "from the files"
        # What is assumed is marked until it is confirmed.
        assert page.locator("#row-transforms .mark").inner_text() == "assumed"
        assert "transforms" in page.locator("#assumed").inner_text()
        page.get_by_role("button", name="Confirm transforms").click()
        expect(page.locator("#assumed")).not_to_contain_text("transforms", timeout=60_000)
        assert page.locator("#row-transforms .mark").inner_text() == "yours"

        # An image is dropped onto the page.
        data = page.evaluate_handle(
            """text => {
                const bytes = Uint8Array.from(atob(text), x => x.charCodeAt(0));
                const data = new DataTransfer();
                data.items.add(new File([bytes], "cat.png"));
                return data;
            }""",
            base64.b64encode(encode(noise(0))).decode(),
        )
        page.dispatch_event("#drop", "drop", {"dataTransfer": data})
        expect(page.locator("#path-picture")).to_have_text("cat.png (dropped)")
        page.get_by_role("button", name="Make, archive and predict").click()
        page.get_by_text("The project is made, and has predicted.").wait_for(timeout=180_000)
        steps = page.locator("#steps").inner_text()
        assert re.search(r"4\. Predict for an image.*\n.*(cat|dog|horse)", steps, re.DOTALL)
        assert not re.search(r"transforms: .*assumed", steps)  # it was confirmed
        assert (start.folder / "my-service" / "model-store").is_dir()

        # Once more into the same folder: the error in full.
        page.get_by_role("button", name="Make, archive and predict").click()
        page.get_by_role("alert").filter(has_text="not made").wait_for(timeout=60_000)
        assert "exists; name another folder" in page.locator("#steps").inner_text()


@needs_chromium
def test_the_project_follows_the_answers_and_marks_what_changed(
    start: Start, browser: Browser
) -> None:
    from playwright.sync_api import expect

    with opened(browser, start.address) as page:
        page.get_by_role("button", name="README.md", exact=True).wait_for()
        page.get_by_label("project_name", exact=True).fill("<img src=x onerror=alert(1)>")
        page.locator("#text .changed").first.wait_for()
        assert "<img src=x onerror=alert(1)>" in page.locator("#text").inner_text()
        assert page.locator("img").count() == 0
        assert page.get_by_role("button", name="README.md, changed").count() == 1
        assert "-d 'project_name=<img" in page.locator("#command").inner_text()

        page.get_by_label("num_classes", exact=True).fill("0")
        problem = page.locator("#problem-num_classes")
        problem.filter(has_text="write 2 or more").wait_for()
        assert page.get_by_role("button", name="Make the project").is_disabled()
        page.get_by_label("num_classes", exact=True).fill("12")
        expect(problem).to_have_text("", timeout=60_000)

        assert page.locator("#row-checkpoint_key").count() == 0
        page.get_by_label("Show those that do not apply, too").check()
        row = page.locator("#row-checkpoint_key")
        row.get_by_text("Asked if weights is checkpoint").wait_for(timeout=60_000)
        assert row.get_by_role("textbox").is_disabled()

        # Without a checkpoint, the project alone is made, with labels from elsewhere.
        page.get_by_role("button", name="Choose labels").click()
        page.get_by_role("heading", name="Choose labels").wait_for()
        names = "\n".join(f"name {number}" for number in range(12)).encode()
        given = {"name": "names.txt", "mimeType": "text/plain", "buffer": names}
        page.get_by_label("Or a file from elsewhere, of up to 100 MB").set_input_files(given)
        expect(page.locator("#path-labels")).to_have_text("names.txt (dropped)")
        page.locator("#row-label_format").get_by_text("from the files").wait_for()
        page.get_by_label("New folder for the project").fill("untrained")
        page.get_by_role("button", name="Make the project").click()
        page.get_by_role("status").get_by_text("The project is made.").wait_for(timeout=60_000)
        assert "is rendered. Next:" in page.locator("#steps").inner_text()
        assert (start.folder / "untrained" / "labels.txt").read_bytes().strip() == names


@needs_chromium
def test_a_service_is_adopted_by_clicks_alone(start: Start, browser: Browser) -> None:

    service = start.folder / "clicked"
    shutil.copytree(start.folder / "by-hand", service, ignore=lambda *_: [".git"])
    for path in service.iterdir():
        if path.name not in handwritten.BASE and path.suffix != ".pth":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name, text in handwritten.BASE.items():
        (service / name).write_text(text.removeprefix("\n"))
    with opened(browser, start.address) as page:
        page.get_by_label("A service that was written by hand").check()
        choose(page, "the folder of a service", "clicked/", "Take this folder")
        row = page.locator("#row-num_classes")
        row.get_by_text("from the files").wait_for(timeout=60_000)
        assert "read in flowers_mobilenet.pth, handler.py:" in row.locator(".why").inner_text()
        page.get_by_role("alert").filter(has_text="is no git checkout").wait_for()
        assert page.evaluate(ACCESSIBLE) == []
        assert "handler.py (by service/handler.py)" in page.locator("#replaced").inner_text()
        make = page.get_by_role("button", name="Make it in this folder")
        make.click()
        page.get_by_role("alert").filter(has_text="not made").wait_for(timeout=60_000)
        assert "is no git checkout" in page.locator("#steps").inner_text()
        commit(service)
        make.click()
        page.get_by_role("status").get_by_text("The project is made.").wait_for(timeout=60_000)
        assert "no longer needed" in page.locator("#steps").inner_text()
        assert (service / "service" / "handler.py").is_file()


@pytest.mark.slow
@needs_chromium
def test_from_data_to_a_prediction_by_clicks_alone(start: Start, browser: Browser) -> None:
    from playwright.sync_api import expect

    write_folders(start.folder / "digits", slice(12))
    with opened(browser, start.address) as page:
        page.get_by_label("Data with labels, to train on").check()
        choose(page, "data", "digits/", "Take this folder")
        page.locator("#row-num_classes").get_by_text("from the data").wait_for(timeout=60_000)
        expect(page.get_by_label("num_classes", exact=True)).to_have_value("3")
        assert "36 images in 3 folders" in page.locator("#report").inner_text()
        assert "architecture" in page.locator("#assumed").inner_text()
        page.get_by_label("architecture", exact=True).fill("custom")
        page.get_by_label("color_mode", exact=True).select_option("L")
        page.get_by_label("backend", exact=True).select_option("eager")
        page.get_by_label("How often to go through the data").fill("1")
        page.get_by_label("New folder for the project").fill("trained")
        page.locator("#command", has_text="trained --defaults").wait_for(timeout=60_000)
        assert "--epochs 1" in page.locator("#command").inner_text()
        assert f"--data {start.folder / 'digits'}" in page.locator("#command").inner_text()
        page.get_by_role("button", name="Make, train, archive and predict").click()
        status = page.get_by_role("status")
        status.get_by_text("The project is made, and has predicted.").wait_for(timeout=180_000)
        assert (start.folder / "trained" / "runs" / "1" / "best.pt").is_file()


@needs_chromium
def test_a_project_that_is_opened_has_its_answers(
    tmp_path: Path, released_template: Path, browser: Browser
) -> None:
    from playwright.sync_api import expect

    answers = {"architecture": "custom", "num_classes": 4, "label_format": "none"}
    options = {"defaults": True, "quiet": True, "settings": Settings()}
    run_copy(str(released_template), tmp_path, data=answers, **options)
    commit(tmp_path)
    with started(tmp_path) as address, opened(browser, address) as page:
        number = page.get_by_label("num_classes", exact=True)
        expect(number).to_have_value("4", timeout=60_000)
        assert page.get_by_label("A project of this template").is_checked()
        assert page.locator("#row-num_classes .mark").inner_text() == "of the project"
        assert page.locator("#making").is_hidden()
        number.fill("7")
        line = "copier update --defaults --vcs-ref=:current: -d num_classes=7"
        page.locator("#command", has_text=line).wait_for(timeout=60_000)
        page.get_by_role("button", name="Show what would change").click()
        page.get_by_text("+num_classes: 7").wait_for(timeout=60_000)
        assert page.evaluate("document.activeElement.id") == "changes"


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_used_by_the_keyboard_on_a_narrow_screen(
    start: Start, browser: Browser, scheme: Any
) -> None:
    from playwright.sync_api import expect

    size = {"width": 320, "height": 640}
    with opened(browser, start.address, viewport=size, color_scheme=scheme) as page:
        page.get_by_role("button", name="README.md", exact=True).wait_for()
        background = page.evaluate("getComputedStyle(document.body).color")
        assert background == ("rgb(0, 0, 0)" if scheme == "light" else "rgb(255, 255, 255)")
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.value") == "new"
        page.keyboard.press("ArrowDown")  # to another of what one may have, and back
        page.get_by_role("button", name="Choose data").wait_for()
        page.keyboard.press("ArrowUp")
        page.get_by_role("button", name="Choose a checkpoint").wait_for()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Choose a checkpoint"
        page.keyboard.press("Enter")
        page.get_by_role("dialog").wait_for()
        expect(page.locator("#entries button").first).to_be_focused()
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.textContent") == "Choose a checkpoint"
        page.get_by_label("Show those that do not apply, too").check()
        page.locator(".disabled").first.wait_for(timeout=60_000)
        assert page.evaluate(ACCESSIBLE) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        # The focus stays while the project is rendered anew.
        page.get_by_label("num_classes", exact=True).focus()
        page.keyboard.press("Control+A")
        page.keyboard.type("345", delay=60)
        page.locator("#command", has_text="num_classes=345").wait_for()
        assert page.evaluate("document.activeElement.id") == "answer-num_classes"
        assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_the_page_is_small() -> None:
    folder = REPOSITORY / "generator" / "page"
    assert sum(x.stat().st_size for x in folder.rglob("*") if x.is_file()) < 2_000_000
    text = "".join(path.read_text("utf-8") for path in (folder / "static").iterdir())
    assert not re.search(r"innerHTML|insertAdjacent|document\.write|eval\(|https?://", text)
