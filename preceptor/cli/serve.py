"""`preceptor serve MODEL…`: models behind an API that clients of OpenAI's speak."""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from preceptor.cli.policies import policies
from preceptor.run.errors import UserError
from preceptor.run.manifest import plain_name

EVERYWHERE = ("0.0.0.0", "::", "")  # addresses that stand for all of a machine's


def add_serve(commands: argparse._SubParsersAction) -> None:
    """The command's arguments."""
    serve = commands.add_parser("serve", help="serve models behind an OpenAI-compatible API")
    serve.add_argument("models", nargs="+", metavar="MODEL", help="folder of a step or model, or NAME=FOLDER")
    serve.add_argument("--host", default="127.0.0.1", help="address to serve on (default: this machine alone)")
    serve.add_argument("--port", type=int, default=8000, help="port (8000)")
    serve.add_argument("--keys", type=Path, metavar="FILE",
                       help="API keys to let in, one a line (default: those in $PRECEPTOR_API_KEYS, by commas)")
    serve.add_argument("--requests-per-minute", type=int, default=600, metavar="N", help="of each key (600)")
    serve.add_argument("--connections", type=int, default=512, metavar="N", help="open at a time, then 503 (512)")
    serve.add_argument("--allow-host", action="append", default=[], metavar="NAME",
                       help="another name under which the server is called, where there are no keys")
    serve.add_argument("--rows", type=int, default=64, metavar="N", help="answers of a model at a time (64)")
    serve.add_argument("--waiting", type=int, default=256, metavar="N", help="answers that may wait, then 429 (256)")
    serve.add_argument("--max-tokens", type=int, default=256, metavar="N", help="of answers that do not say (256)")
    serve.add_argument("--timeout", type=float, default=600.0, metavar="S", help="seconds of a call, 0: any (600)")
    serve.add_argument("--feedback", metavar="STORE", help="where opinions go: a .sqlite file or a "
                       "postgresql:// URL (default, for the chat page alone: that of the models' run)")
    serve.add_argument("--log", action="store_true", help="keep what is asked and answered there, and learn from it")
    serve.add_argument("--runtime", default="", metavar="NAME", help="what decodes: pytorch or onnx (as the folder is)")
    serve.set_defaults(command=_serve)


def _serve(arguments: argparse.Namespace) -> None:
    from preceptor.web.options import ServeOptions
    names = ("requests_per_minute", "rows", "waiting", "max_tokens", "timeout", "runtime")
    options = ServeOptions(keys=keys_of(arguments.keys), hosts=hosts_of(arguments.host, arguments.allow_host),
                           **{name: getattr(arguments, name) for name in names})
    least = {"connections": 1, "requests_per_minute": 1, "rows": 1, "waiting": 0, "max_tokens": 1, "timeout": 0}
    for name, number in least.items():
        if not getattr(arguments, name) >= number:
            raise UserError(f"Nothing can be served with --{name.replace('_', '-')} {getattr(arguments, name)}.",
                            f"Give {number} or more.")
    folders = folders_of(arguments.models)
    try:
        from preceptor.web.api import create_api
        from preceptor.web.running import run
    except ImportError as error:
        raise UserError(f"The server needs the package {error.name}.",
                        "Install it with: pip install 'preceptor[web]'") from None
    from preceptor.feedback.store import open_store, public_place
    from preceptor.web.service import Folders
    if arguments.log and not arguments.feedback:
        raise UserError("--log does not say where requests are to be kept.", "Give --feedback STORE, too.")
    log = open_store(arguments.feedback) if arguments.log else None
    found = Folders(folders, options)
    app = create_api(found.all(), options, log, found)
    print(f"Serving {', '.join(folders)} at http://{arguments.host}:{arguments.port}/v1. Stop with Ctrl-C.", flush=True)
    page = _chat(app, arguments, folders)
    if not options.keys:
        print("No API keys are set: whoever reaches this address is let in.", flush=True)
    if log is not None:
        print(f"What is asked and answered is kept in {public_place(arguments.feedback)}.", flush=True)
    try:
        run(page, arguments.host, arguments.port, app.state.service.reload, arguments.connections)
    finally:
        if log is not None:
            log.close()


def _chat(api: Any, arguments: argparse.Namespace, folders: Mapping[str, Path]) -> Any:
    """The API with the chat page beside it."""
    from preceptor.feedback.store import public_place
    from preceptor.web.chatting import beside, create_chat
    from preceptor.web.opinions import Opinions, store_of
    from preceptor.web.serve import LOCAL
    place = arguments.feedback or store_of(folders.values())
    kept = f"preferences go into {public_place(place)}" if place else "give --feedback FILE to keep preferences"
    print(f"The chat page is at http://{arguments.host}:{arguments.port}/; {kept}.", flush=True)
    return beside(api, create_chat(api.state.service, Opinions(place, alone=arguments.host in LOCAL)))


def hosts_of(address: str, more: Sequence[str]) -> tuple[str, ...]:
    """The names under which the server may be called: that of its address, this machine's where it is reached under
    every address that the machine has, and those that were given."""
    from socket import gethostname
    return (gethostname() if address in EVERYWHERE else address, *more)


def folders_of(models: list[str]) -> dict[str, Path]:
    """The folder of each name that clients use: NAME=FOLDER, else the step's or the folder's own.

    Raises:
        UserError: there is no such folder, it is a run's and no step's, or two have one name.
    """
    found: dict[str, Path] = {}
    for model in models:
        name, _, folder = model.rpartition("=")
        path = Path(folder)
        name = name or plain_name(path.resolve())
        if not path.is_dir():
            raise UserError(f"There is no folder '{folder}'.", "Give the folder of a step or of a model.")
        if (path / "run.json").is_file():
            newest = next(iter(policies(path).values()), None)
            raise UserError(f"'{folder}' is the folder of a run, and a step of it is served.",
                            f"Give the newest policy, '{newest}', or another step." if newest else
                            "Give a step that has made a model, once there is one.")
        if name in found:
            raise UserError(f"Two models would be called '{name}'.", "Name one of them: NAME=FOLDER.")
        found[name] = path
    return found


def keys_of(file: Path | None) -> tuple[str, ...]:
    """The keys of the file, or of the environment.

    Raises:
        UserError: the file cannot be read, or is empty: that would let everybody in.
    """
    if file is None:
        return tuple(key.strip() for key in os.environ.get("PRECEPTOR_API_KEYS", "").split(",") if key.strip())
    try:
        keys = tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
    except OSError as error:
        raise UserError(f"The keys in '{file}' cannot be read: {error.strerror}.", "Give a readable file.") from None
    if not keys:
        raise UserError(f"'{file}' holds no keys, which would let everybody in.", "Write one key a line.")
    return keys
