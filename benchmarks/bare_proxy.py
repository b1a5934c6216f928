"""The yardstick: the smallest aiohttp reverse proxy that relays requests and answers as they come, and judges nothing.

Same server, client and event loop as ours, so the difference is what judging costs. It uses aiohttp's low-level server,
without a router and without an access log, because that is the fastest one. Prints its port on the first line of
standard output and runs until it is terminated.
"""

from __future__ import annotations

import argparse
import asyncio

import aiohttp
from aiohttp import web

NOT_RELAYED = frozenset(("host", "connection", "keep-alive", "content-length", "transfer-encoding", "te", "upgrade"))


async def _main(upstream: str, port: int) -> None:
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=512), cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
    )

    async def relay(request: web.BaseRequest) -> web.StreamResponse:
        sent = {name: value for name, value in request.headers.items() if name.lower() not in NOT_RELAYED}
        body = await request.read()
        async with session.request(
            request.method, upstream + request.path_qs, data=body, headers=sent, allow_redirects=False
        ) as answer:
            back = {name: value for name, value in answer.headers.items() if name.lower() not in NOT_RELAYED}
            response = web.StreamResponse(status=answer.status, headers=back)
            response.content_length = answer.content_length
            await response.prepare(request)
            async for segment in answer.content.iter_any():
                await response.write(segment)
            await response.write_eof()
            return response

    runner = web.ServerRunner(web.Server(relay, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("upstream", help="e.g. http://127.0.0.1:9000")
    parser.add_argument("--port", type=int, default=0)
    args = parser.parse_args()
    asyncio.run(_main(args.upstream, args.port))
