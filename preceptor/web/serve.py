"""`preceptor label RUN`: the labelling pages over a run's store, on this machine or for a team."""

import threading
import webbrowser
from pathlib import Path

from preceptor.feedback.accounts import invite
from preceptor.feedback.labelers import account_name
from preceptor.feedback.store import Store
from preceptor.run.errors import UserError
from preceptor.web.options import WebOptions

LOCAL = ("127.0.0.1", "localhost", "::1")


def serve(store: Store, place: str, options: WebOptions, host: str, port: int, run: Path, *, browse: bool,
          pictures: Path | None = None) -> None:
    """Serve the store at `place` until interrupted. An invitation as admin is printed, and opened where `browse` asks;
    `pictures` is the folder whose files prompts name.

    Raises:
        UserError: the packages of the pages are not installed, or the address cannot be used.
    """
    try:
        from preceptor.web.app import create_app
        from preceptor.web.running import run as run_until_told
    except ImportError as error:
        raise UserError(f"The labelling pages need the package {error.name}.",
                        "Install it with: pip install 'preceptor[web]'") from None
    me = account_name()
    link = f"http://{host if host != '0.0.0.0' else '127.0.0.1'}:{port}/enter/{invite(store, me, 'admin', me)}"
    print(f"Labelling {run}. Stop with Ctrl-C.\n\n    {link}\n\nThis link lets you in once, as admin.",
          flush=True)
    if host not in LOCAL:
        print(f"The pages are open to whoever reaches {host}:{port} and has an invitation. "
              "Put TLS before them: without it, tokens can be read on the way.")
    print(f"To train on the labels:\n\n    preceptor run RECIPE --out {run} "
          f"--set reward.needs.comparisons={place} --from reward", flush=True)
    if browse:
        threading.Timer(1.0, webbrowser.open, [link]).start()
    run_until_told(create_app(store, options, run, place, pictures), host, port)
