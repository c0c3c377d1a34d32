"""Servers that tests in the browser start: JupyterLab, Notebook and marimo, each on this machine, in folders of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat

ROOT = Path(__file__).parent.parent.parent
STARTS_S = 90


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def surroundings(folder: Path) -> dict[str, str]:
    """Return an environment whose settings, data and history lie in `folder`, and in which nothing is downloaded."""
    places = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
        "XDG_CONFIG_HOME": "xdg-config",
        "XDG_CACHE_HOME": "xdg-cache",
        "XDG_STATE_HOME": "xdg-state",
        "XDG_DATA_HOME": "xdg-data",
    }
    for name in places.values():
        (folder / name).mkdir(parents=True, exist_ok=True)
    quiet = folder / "settings" / "@jupyterlab" / "apputils-extension"
    quiet.mkdir(parents=True, exist_ok=True)
    news = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
    (quiet / "notification.jupyterlab-settings").write_text(json.dumps(news))
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    own = {name: str(folder / place) for name, place in places.items()}
    return {**os.environ, **own, "JUPYTER_PREFER_ENV_PATH": "1", "MARIMO_SKIP_UPDATE_CHECK": "1", "PYTHONPATH": path}


@contextlib.contextmanager
def serving(command: list[str], url: str, folder: Path) -> Iterator[str]:
    """Run a server until it is no longer needed; yield its address once it answers. Its output goes to server.log."""
    with (folder / "server.log").open("wb") as log:
        env = surroundings(folder)
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True)
        try:
            _wait(process, url, folder / "server.log")
            yield url
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + STARTS_S
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2):
            return
        time.sleep(0.2)
    raise AssertionError(f"{url} did not answer: {log.read_text(errors='replace')[-2000:]}")


def jupyter(app: str, folder: Path) -> contextlib.AbstractContextManager[str]:
    """Serve `lab` or `notebook` on notebooks in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [sys.executable, "-m", f"jupyter{app}" if app == "lab" else app, "--no-browser", "--allow-root"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--ServerApp.ip=127.0.0.1"]
    command += ["--IdentityProvider.token=", "--ServerApp.password=", f"--ServerApp.root_dir={folder}"]
    command += ["--ServerApp.disable_check_xsrf=True", "--expose-app-in-browser", "--LabApp.extension_manager=readonly"]
    command += ["--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate"]
    command += ["--LabApp.news_url=None", "--ServerApp.terminals_enabled=False"]
    return serving(command, f"http://127.0.0.1:{port}", folder)


def review(project: Path, annotator: str, folder: Path) -> contextlib.AbstractContextManager[str]:
    """Run `workbench review` as it is, but for what the tests' pages need; settings and output lie in `folder`."""
    port = free_port()
    allowed = {"ServerApp": {"allow_root": True}, "LabApp": {"expose_app_in_browser": True}}
    (folder / "config").mkdir(parents=True, exist_ok=True)
    (folder / "config" / "jupyter_lab_config.json").write_text(json.dumps(allowed))
    command = [sys.executable, "-m", "workbench.cli", "review", str(project), "--annotator", annotator]
    return serving([*command, "--port", str(port), "--no-browser"], f"http://127.0.0.1:{port}", folder)


def marimo(file: Path) -> contextlib.AbstractContextManager[str]:
    """Serve one marimo notebook as an app."""
    port = free_port()
    command = [sys.executable, "-m", "marimo", "--quiet", "run", str(file), "--headless", "--no-token"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    return serving(command, f"http://127.0.0.1:{port}", file.parent)


def write_notebook(path: Path, *cells: str) -> Path:
    """Write a notebook of code cells for the kernel that runs the tests."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def opening(project: Path, clicks: bool = False, **given: object) -> str:
    """Return the code of a cell that opens a project and ends with its annotator; `clicks`: answered by the bundled SAM."""
    words = "".join(f", {name}={value!r}" for name, value in given.items()) + (", sam=wb.load_sam()" if clicks else "")
    lines = ["import workbench as wb", f"project = wb.Project.open({str(project)!r})"]
    return "\n".join([*lines, f"widget = wb.Annotator(project{words})", "widget"])
