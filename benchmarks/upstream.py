"""A scripted OpenAI-like upstream for benchmarks: answers at once, from bytes that were made beforehand.

It is a bare `asyncio.Protocol`, so that it is never the slowest part. Prints its port on the first line of standard
output and runs until it is terminated.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
from collections.abc import Iterator

N_CHUNKS = 100
TEXT = (
    "The tide turns twice a day because the earth rotates under two bulges of water: one on the side that faces the "
    "moon, one on the far side. A coast passes through both in a little less than twenty-five hours. Wind, the shape "
    "of the sea floor and the pull of the sun change how high the water comes."
)
MARKER = "ZQ-MARK-7781"
"""The literal that the benchmark's policy seeks; a prompt that contains `LEAK` is answered with it."""
LEAK = "bench-leak"
LONG = "bench-long"
"""A streamed answer to a prompt with this is five times as long, in as many chunks."""
PACED = "bench-paced"
"""The same with `PACE_S` between the chunks, as a model writes."""
PACE_S = 0.004


def _completion(text: str) -> bytes:
    body = json.dumps(
        {
            "id": "chatcmpl-bench",
            "object": "chat.completion",
            "created": 1750000000,
            "model": "bench-model",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text, "refusal": None},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 20, "completion_tokens": 80, "total_tokens": 100},
        },
        separators=(",", ":"),
    ).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _stream(text: str) -> list[bytes]:
    def event(data: str) -> bytes:
        raw = f"data: {data}\n\n".encode()
        return b"%x\r\n%b\r\n" % (len(raw), raw)

    def chunk(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        whole = {
            "id": "chatcmpl-bench",
            "object": "chat.completion.chunk",
            "created": 1750000000,
            "model": "bench-model",
            "choices": [choice],
        }
        return event(json.dumps(whole, separators=(",", ":")))

    pieces = [text[len(text) * i // N_CHUNKS : len(text) * (i + 1) // N_CHUNKS] for i in range(N_CHUNKS)]
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    first = chunk({"role": "assistant", "content": pieces[0]})
    last = chunk({}, "stop") + event("[DONE]") + b"0\r\n\r\n"
    return [head, first, *(chunk({"content": piece}) for piece in pieces[1:]), last]


PLAIN = _completion(TEXT)
LEAKED = _completion(f"It is {MARKER}.")
STREAM = _stream(TEXT)
LONG_STREAM = _stream(" ".join([TEXT] * 5))


class Upstream(asyncio.Protocol):
    """One connection: requests with a ``Content-Length``, one at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin a connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        """Answer a request once it is whole."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        at = head.find(b"\r\ncontent-length:")
        length = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._buffer) < end + 4 + length:
            return
        body, self._buffer = self._buffer[end + 4 :], b""
        if PACED.encode() in body:
            self._send_paced(iter(LONG_STREAM), self._loop.time())
        elif b'"stream":true' in body:
            self._send_next(iter(LONG_STREAM if LONG.encode() in body else STREAM))
        else:
            self._transport.write(LEAKED if LEAK.encode() in body else PLAIN)

    def _send_next(self, chunks: Iterator[bytes]) -> None:
        """One chunk per turn of the event loop: a model's tokens do not come in one packet either."""
        chunk = next(chunks, None)
        if chunk is not None and not self._transport.is_closing():
            self._transport.write(chunk)
            self._loop.call_soon(self._send_next, chunks)

    def _send_paced(self, chunks: Iterator[bytes], due: float) -> None:
        """One chunk at its time."""
        chunk = next(chunks, None)
        if chunk is not None and not self._transport.is_closing():
            self._transport.write(chunk)
            self._loop.call_at(due + PACE_S, self._send_paced, chunks, due + PACE_S)


async def _main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, family=socket.AF_INET)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(_main(parser.parse_args().port))
