"""
The pages, served on this machine and built again at each change.

sphinx-autobuild watches and serves, but starts Sphinx anew for each build, most of which is to
import and to load. Here, the next build has done so before the change comes.
"""

import asyncio
import multiprocessing
import os
import socket
from collections.abc import Collection, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import uvicorn
import watchfiles
from sphinx.application import builtin_extensions
from sphinx_autobuild.middleware import JavascriptInjectorMiddleware
from sphinx_autobuild.server import RebuildServer
from sphinx_autobuild.utils import show_message
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, WebSocketRoute
from starlette.staticfiles import StaticFiles

from ...records.record import RunPaths
from ...text.errors import say
from ..sheets.pages import SHEET
from .state import TEMPORARY, is_left_out
from .waiting import build_when_told

HOST = "127.0.0.1"
PATIENCE_s = 3.0
"""A page that is asked for waits so long for a build to end."""

SHOWN = 5
"""How many changed files are named."""


class Builds:
    """
    Builds, each a process, the next of which is prepared and waits for a change.

    Prepared builds are forks of a process that has imported Sphinx and this extension. Once a
    file that they load has changed, they import all themselves.
    """

    def __init__(self, arguments: Sequence[str]):
        self.arguments = arguments
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(list_modules())
        self.process = None

    def prepare(self) -> None:
        self.connection, other = self.context.Pipe()
        self.process = self.context.Process(target=build_when_told, args=(other, self.arguments))
        self.process.start()
        other.close()

    async def wait_until_prepared(self) -> set[str] | None:
        """Return the files that the next build has loaded, None if there is no such build."""
        if self.process is None:
            return None
        await wait_until_readable(self.connection)
        try:
            return self.connection.recv()
        except EOFError:  # Sphinx has said why, such as a mistake in conf.py
            self.stop()
            return None

    async def build(self, changed: Collection[str]) -> None:
        """Build the pages, and prepare the next build."""
        loaded = await self.wait_until_prepared()
        if loaded is None or not loaded.isdisjoint(changed):
            if loaded is not None:
                self.context = multiprocessing.get_context("spawn")
                self.stop()
            self.prepare()
            loaded = await self.wait_until_prepared()
        if loaded is not None:
            self.connection.send(None)
            await wait_until_readable(self.process.sentinel)
            self.stop()
            self.prepare()

    def stop(self) -> None:
        """End the process, if there is one."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.connection.close()
            self.process = None


class LiveServer(RebuildServer):
    """
    sphinx-autobuild's server, which waits for builds that are other processes.

    built: whether no build is writing pages
    """

    def __init__(self, *args):
        super().__init__(*args)
        self.built = asyncio.Event()

    async def watch(self) -> None:
        changed = watchfiles.awatch(*self.paths, watch_filter=lambda _, path: not self.ignore(path))
        async with asyncio.TaskGroup() as tasks:
            build = tasks.create_task(self.build(()))
            async for changes in changed:
                await build  # further changes are collected meanwhile
                paths = {os.path.realpath(path) for _, path in changes}
                build = tasks.create_task(self.build(paths))

    async def build(self, changed: Collection[str]) -> None:
        """Build the pages, and have browsers load theirs again."""
        self.built.clear()
        await self.change_callback(changed)
        self.built.set()
        self.flag.set()


class WaitForBuild:
    """Middleware that answers after a build: Sphinx's pages are cut short while it writes them."""

    def __init__(self, app, built: asyncio.Event):
        self.app = app
        self.built = built

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "http":
            with suppress(TimeoutError):
                await asyncio.wait_for(self.built.wait(), PATIENCE_s)
        await self.app(scope, receive, send)


async def wait_until_readable(file) -> None:
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(file, event.set)
    try:
        await event.wait()
    finally:
        loop.remove_reader(file)


def is_input(path: Path, source: Path, built: Path) -> bool:
    """
    Return whether the pages are to be built again after a change of this file.

    Of a run, that is its record only: other files are written all the time. Builds write sheets.
    """
    *folders, name = path.relative_to(source).parts
    return not (
        path.is_relative_to(built)
        or any(map(is_left_out, folders))
        or name.startswith(".")
        or name.endswith((*TEMPORARY, "~"))
        or name == f"{SHEET}.rst"
        or ("runs" in folders and path != RunPaths(path.parent).record)
        or any((x / "pyvenv.cfg").is_file() for x in path.parents)
    )


def list_modules() -> list[str]:
    """Return the names of the modules that every build imports."""
    notebook = import_module(__name__.rpartition(".builds.")[0])
    packages = [f"{notebook.__name__}.{package}" for package in notebook.PACKAGES]
    ours = [f"{package}.{x}" for package in packages for x in import_module(package).COMPONENTS]
    return [*builtin_extensions, *ours]


def serve(source: Path, out: Path, arguments: Sequence[str], port: int) -> int:
    """
    Build and serve the pages until Ctrl-C, and return the exit code.

    out:       the folder of `html` and `doctrees`
    arguments: of ``sphinx-build``
    port:      0 for any that is free
    """
    if not source.is_dir():
        return say(f"{source}: no such folder", 2)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        reason = error.strerror.lower()
        return say(f"--live={port}: {reason}; --live=0 takes a port that is free", 2)
    except OverflowError:
        return say(f"--live={port}: expected a port, 0 to 65535", 2)
    address = f"{HOST}:{listener.getsockname()[1]}"
    builds = Builds(arguments)
    pages = out / "html"
    pages.mkdir(parents=True, exist_ok=True)

    async def build(changed: Collection[str]) -> None:
        show_message(describe(changed))
        await builds.build(changed)
        show_message(f"Serving on http://{address}")

    server = LiveServer([source], lambda path: not is_input(Path(path), source, out), build)
    routes = [
        WebSocketRoute("/websocket-reload", server, name="reload"),
        Mount("/", app=StaticFiles(directory=pages, html=True), name="static"),
    ]
    middleware = [
        Middleware(WaitForBuild, built=server.built),
        Middleware(JavascriptInjectorMiddleware, ws_url=address),
    ]
    app = Starlette(routes=routes, middleware=middleware, lifespan=server.lifespan)
    try:
        with suppress(KeyboardInterrupt):
            uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
    finally:
        builds.stop()
    return 0


def describe(changed: Collection[str]) -> str:
    """Return what is being done, and for which files."""
    names = sorted(os.path.relpath(x) for x in changed)
    if not names:
        return "Building the pages"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"Building after a change of {', '.join(names[:SHOWN])}{more}"
