"""An application behind uvicorn until it is told to stop."""

import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn

from preceptor.run.errors import UserError
from preceptor.web.connections import Limited

FINISHING = 30  # seconds that requests in the making get when the server is told to stop
KEPT = 75  # seconds that a silent connection is kept: who ranks reads for longer than uvicorn's own 5
SWITCHING = 0.0005  # seconds that a thread may compute while another waits for its turn


def run(app: Any, host: str, port: int, reload: Callable[[], None] | None = None, connections: int = 0) -> None:
    """Serve until interrupted (SIGINT, SIGTERM): then no more connections are taken, and requests in the making are
    finished. `reload` is called at SIGHUP; `connections` may be open at a time, any number where it is 0.

    Raises:
        UserError: the address cannot be used.
    """
    if not 0 <= port < 1 << 16:
        raise UserError(f"There is no port {port}.", "Give --port a number from 1 to 65535.")
    # An engine's thread asks for its turn after every operation of the network: at the interpreter's own 5 ms it would
    # wait longer for the event loop than it computes.
    sys.setswitchinterval(SWITCHING)
    server = uvicorn.Server(uvicorn.Config(app, host=host, port=port, log_level="warning", server_header=False,
                                           timeout_keep_alive=KEPT, timeout_graceful_shutdown=FINISHING,
                                           http=partial(Limited, connections)))
    if reload is not None and hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda number, frame: reload())
    try:
        server.run()
    except KeyboardInterrupt:  # uvicorn's way to say that SIGINT stopped it
        print("\nStopped.", flush=True)
    except SystemExit:
        raise UserError(f"Port {port} of {host} cannot be used.", "Choose another with --port, or --host.") from None
