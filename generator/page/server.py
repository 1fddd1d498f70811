"""Serves the page to this machine alone."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import multiprocessing
import os
import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from generator import facts
from generator.adopt import refuse_to_lose
from generator.answers_file import ANSWERS_FILE, answers_in
from generator.errors import UserError
from generator.options import parse, questions
from generator.page import inspecting, rendering, services
from generator.page.files import LARGEST_FILE, Dropped, inside, listing, refuse_links

STATIC = Path(__file__).resolve().parent / "static"
LARGEST = 2_000_000  # bytes of a request: answers, or the text of a file
DROP = "/api/drop"  # the one address that takes other bytes
# The page loads nothing from elsewhere, sends nothing elsewhere, and no other page can show it.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Lets in who knows the token, from the page itself; the token is the first part of the path.

    A foreign page can make a browser send requests here, under the name of a host of its own, too:
    Host and Origin tell.
    """

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self.app = app
        self.token = token.encode()
        self.hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.lower().encode(), x.encode()) for name, x in HEADERS.items()]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        request = Request(scope)
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        known = request.url.path.removeprefix("/").partition("/")[0].encode()
        is_sent = request.method not in ("GET", "HEAD")
        is_drop = request.url.path.removeprefix("/").removeprefix(known.decode()) == DROP
        kind, largest = ("application/json", LARGEST)
        if is_drop:
            kind, largest = ("application/octet-stream", LARGEST_FILE)
        refusal = None
        if host not in self.hosts:
            refusal = PlainTextResponse("open the address that ts-template start printed", 421)
        elif not hmac.compare_digest(known, self.token):
            refusal = PlainTextResponse("open the address that ts-template start printed", 403)
        elif origin != f"http://{host}" and (origin is not None or is_sent):
            refusal = PlainTextResponse("no other page may ask this one", 403)
        elif is_sent and request.headers.get("content-type") != kind:
            refusal = PlainTextResponse(f"expected {kind}", 415)
        elif int(request.headers.get("content-length") or 0) > largest or (
            is_sent and "content-length" not in request.headers
        ):
            refusal = PlainTextResponse(f"expected at most {largest // 1_000_000} MB", 413)
        await (refusal or self.app)(scope, receive, send_with_headers)


class Page:
    """What the page asks for.

    Args:
        root: The folder of which it shows files, and in which it makes projects; resolved.
        renderer: The process of `rendering`.
        dropped: Takes files that are dropped onto the page.
    """

    def __init__(self, root: Path, renderer: Executor, dropped: Dropped) -> None:
        self.root, self.renderer, self.dropped = root, renderer, dropped

    def routes(self) -> list[Route | Mount]:
        """Return the addresses under the token."""
        asked: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
            ("folder", self.folder),
            ("preview", self.preview),
            ("colours", self.colours),
            ("files", self.files),
            ("inspect", self.inspect),
            ("project", self.project),
            ("change", self.change),
        ]
        return [
            *(Route(f"/api/{name}", replying(call), methods=["POST"]) for name, call in asked),
            Route("/api/make", self.make, methods=["POST"]),
            Route(DROP, self.drop, methods=["POST"]),
            Mount("/", StaticFiles(directory=STATIC, html=True)),
        ]

    async def run(self, call: Callable[..., Any], *words: Any) -> Any:
        """Call a function in the process of `rendering`."""
        return await asyncio.get_running_loop().run_in_executor(self.renderer, call, *words)

    async def folder(self, asked: dict[str, Any]) -> Any:
        """Return whether the page's folder is a project, and how large a dropped file may be."""
        is_project = (self.root / ANSWERS_FILE).is_file()
        return {"is_project": is_project, "largest_file": LARGEST_FILE}

    async def preview(self, asked: dict[str, Any]) -> Any:
        """Return the questions and the files, given answers."""
        answers = asked["answers"]
        if asked.get("from_scratch"):  # what `new` assumes then
            task = facts.tasks().get(answers.get("task"), {})
            answers = {**task.get("from_scratch", {}), **answers}
        of = rendering.Of(
            given=asked.get("given", {}),
            has_reasons=asked.get("has_reasons", False),
            service=self.service(asked),
            project=self.path(asked, "project"),
            line=self.line(asked),
        )
        return await self.run(rendering.preview, answers, of)

    async def colours(self, asked: dict[str, Any]) -> Any:
        """Return the lines of a file, in coloured pieces."""
        return {"lines": await self.run(rendering.coloured, asked["name"], asked["text"])}

    async def files(self, asked: dict[str, Any]) -> Any:
        """Return what is in a folder."""
        found = await asyncio.to_thread(listing, self.root, asked["folder"])
        return {**found, "root": str(self.root)}

    def path(self, asked: dict[str, Any], name: str) -> Path | None:
        """Return a path that the page gives, None if it is empty."""
        return inside(self.root, asked[name]) if asked.get(name) else None

    def service(self, asked: dict[str, Any]) -> services.Files | None:
        """Return the folder of a hand-written service, and what was chosen besides."""
        folder = self.path(asked, "service")
        if folder is None:
            return None
        refuse_links(self.root, folder)
        return folder, self.path(asked, "weights"), self.path(asked, "labels")

    def line(self, asked: dict[str, Any]) -> list[str]:
        """Return the ts-template command for a service or data, to which answers are added."""
        if files := self.service(asked):
            return services.line(files)
        data = self.path(asked, "data")
        if data is None:
            return []
        destination = self.path(asked, "destination") or self.root / "my-service"
        words = ["new", str(destination), "--defaults", "--data", str(data)]
        for option, kind in (("from", "start"), *((x, x) for x in ("labels", "model", "picture"))):
            if path := self.path(asked, kind):
                words += [f"--{option}", str(path)]
        if epochs := asked.get("epochs"):
            words += ["--epochs", str(int(epochs))]
        return words + ["--from-scratch"] * bool(asked.get("from_scratch"))

    async def inspect(self, asked: dict[str, Any]) -> Any:
        """Return what files tell."""
        answers, files = asked["answers"], self.service(asked)
        if data := self.path(asked, "data"):
            refuse_links(self.root, data)
            chosen = [self.path(asked, name) for name in ("start", "labels", "model")]
            return await self.run(inspecting.data, data, *chosen, answers)
        if files is None:
            chosen = [self.path(asked, name) for name in ("weights", "labels", "model")]
            if not any(chosen):
                raise UserError("choose a checkpoint, or labels")
            return await self.run(inspecting.inspect, *chosen, answers)
        found = await self.run(inspecting.adopt, files, answers)
        try:  # here, as git is not found in that process
            await asyncio.to_thread(refuse_to_lose, files[0])
        except UserError as error:
            found["problem"] = str(error)
        return found

    async def project(self, asked: dict[str, Any]) -> Any:
        """Return the answers of a project, and why it cannot be updated, if it cannot."""
        from generator.update import origin

        folder, problem = self.path(asked, "project"), ""
        if folder is None or not (folder / ANSWERS_FILE).is_file():
            raise UserError(f"{folder} has no {ANSWERS_FILE}: choose the folder of a project")
        inside(self.root, str(folder / ANSWERS_FILE))
        answers = answers_in(folder)
        try:
            origin(folder, ANSWERS_FILE)
        except UserError as error:
            problem = str(error)
        known = {name: x for name, x in answers.items() if name in questions()}
        return {"known": known, "problem": problem}

    async def change(self, asked: dict[str, Any]) -> Any:
        """Return what an update, or answers, would change in a project."""
        from generator.update import command, difference

        project = self.path(asked, "project")
        if project is None:
            raise UserError("choose the folder of a project")
        words = [f"{name}={rendering.as_text(x)}" for name, x in asked["answers"].items()]
        found = await asyncio.to_thread(difference, project, parse(words))
        lines = await self.run(rendering.coloured, "changes.diff", found.text)
        return {
            "before": found.before,
            "after": found.after,
            "files": found.files,
            "conflicts": found.conflicts,
            "unused": found.unused,
            "lines": lines,
            "command": command(project, words, "", ANSWERS_FILE),
        }

    async def make(self, request: Request) -> Response:
        """Make a project; reply with what is printed meanwhile, line by line."""
        asked = await request.json()
        try:
            words = self.words(asked)
        except (KeyError, AttributeError, TypeError, ValueError, UserError) as error:
            return JSONResponse({"error": str(error)}, 400)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", *words),
            cwd=self.root,
            env={
                **os.environ,
                "NO_COLOR": "1",
                "PYTHONUNBUFFERED": "1",
                "PYTHONIOENCODING": "utf-8",
                "PYTHONPATH": os.pathsep.join(
                    filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")])
                ),
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        return StreamingResponse(printed(process), media_type="text/plain; charset=utf-8")

    def words(self, asked: dict[str, Any]) -> list[str]:
        """Return the module, and its words, that makes a project.

        It is `ts-template adopt` in the folder of a service, `new` with data or a checkpoint, and
        without them what renders a project alone.
        """
        answers = [f"{name}={rendering.as_text(x)}" for name, x in asked["answers"].items()]
        parse(answers)
        given = rendering.after_d(answers)
        if files := self.service(asked):
            return ["generator.cli", *services.line(files), *given]
        destination, weights = self.path(asked, "destination"), self.path(asked, "weights")
        if destination is None or destination == self.root:
            raise UserError("name the new folder of the project")
        if data := self.path(asked, "data"):
            refuse_links(self.root, data)
            return ["generator.cli", *self.line(asked), *given]
        words = ["generator.page.alone", str(destination)]
        options = ["labels", "model"]
        if weights is not None:
            words = ["generator.cli", "new", str(destination), "--defaults"]
            options += ["weights", "picture"]
        for option in options:
            if path := self.path(asked, option):
                words += [f"--{option}", str(path)]
        return [*words, *given]

    async def drop(self, request: Request) -> Response:
        """Take a file that was dropped onto the page; its name is in the query."""
        size = int(request.headers["content-length"])
        try:
            path = self.dropped.place(request.query_params.get("name", ""), size)
        except UserError as error:
            return JSONResponse({"error": str(error)}, 400)
        try:
            with path.open("xb") as file:
                async for piece in request.stream():
                    file.write(piece)
        except ClientDisconnect:
            path.unlink()
            return Response()
        return JSONResponse({"path": path.relative_to(self.root).as_posix(), "name": path.name})


async def printed(process: asyncio.subprocess.Process) -> AsyncIterator[bytes]:
    """Yield what a process prints, then a line with its status; end it if nobody reads on."""
    assert process.stdout is not None
    try:
        while piece := await process.stdout.read(4096):
            yield piece
        yield f"\n\0{await process.wait()}".encode()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


def replying(call: Callable[[dict[str, Any]], Any]) -> Callable[[Request], Any]:
    """Return what answers a request with JSON: what a function returns, or why it refuses."""

    async def reply(request: Request) -> Response:
        try:
            return JSONResponse(await call(await request.json()))
        except UserError as error:
            return JSONResponse({"error": str(error)}, 400)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            return JSONResponse({"error": f"no request of the page: {error!r}"}, 400)

    return reply


def start(folder: Path, port: int, *, is_opened: bool) -> None:
    """Serve the page until Ctrl-C.

    Args:
        folder: The folder of which it shows files, and in which it makes projects.
        port: On 127.0.0.1; 0 takes a free one.
        is_opened: Whether to open the page in the browser.

    Raises:
        UserError: There is no such folder, or the port is in use.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    token = secrets.token_urlsafe(24)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen()  # before the address is printed
        except OSError as error:
            raise UserError(
                f"port {port} cannot be used ({error.strerror}); name another, or 0 for a free "
                "one: --port 0"
            ) from error
        port = listener.getsockname()[1]
        context = multiprocessing.get_context("spawn")
        renderer = ProcessPoolExecutor(1, context, rendering.prepare)
        stack.callback(renderer.shutdown, cancel_futures=True)
        renderer.submit(rendering.preview, {}, rendering.Of())  # so that the page finds it ready
        dropped = Dropped(folder.resolve())
        stack.callback(dropped.close)
        page = Page(folder.resolve(), renderer, dropped)
        app = Starlette(routes=[Mount(f"/{token}", routes=page.routes())])
        address = f"http://127.0.0.1:{port}/{token}/"
        print(f"{address}\nshows {page.root} to this machine alone. Ctrl-C stops it.", flush=True)
        if is_opened:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        config = uvicorn.Config(
            Guard(app, token, port), log_level="error", lifespan="off", ws="none"
        )
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
