"""Connections: how many are open at a time, and how long one may take to say what it wants.

A connection costs a file descriptor, of which a process has few, before anybody knows who is there: keys and limits on
requests come too late for those who open many and say nothing.
"""

import asyncio
import json

from uvicorn.protocols.http.auto import AutoHTTPProtocol

PATIENCE = 60.0  # seconds in which a request must have arrived
REASON = json.dumps({"error": {"message": "As many connections are open as may be. Try again later.",
                               "type": "server_error", "param": None, "code": None}}).encode()
REFUSAL = (b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n"
           b"connection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(REASON), REASON))


class Limited(AutoHTTPProtocol):
    """A connection of uvicorn's. One beyond the `most` that may be open gets 503 at once; 0 is no limit."""

    def __init__(self, most: int, **given: object) -> None:
        super().__init__(**given)
        self.most = most
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        if self.most and len(self.connections) > self.most:
            self.connections.discard(self)  # on its way out it is in nobody's way
            transport.write(REFUSAL)
            transport.close()
        else:
            self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._forget()

    def _watch(self) -> None:
        """Hang up in a while, unless the head of a request is there by then; its body is the application's to wait
        for, and silence between two requests uvicorn's."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._forget()
        elif self._late is None:
            self._late = self.loop.call_later(PATIENCE, self.transport.close)

    def _forget(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
