"""Passes TCP connections on, and what comes back 20 ms later: conformance_delay.py HOST:PORT; prints where it listens."""

import asyncio
import sys

DELAY_S = 0.02
host, port = sys.argv[1].rsplit(":", 1)


async def forward(reader, writer, delay_s):
    try:
        while data := await reader.read(65536):
            await asyncio.sleep(delay_s)
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()


async def serve(reader, writer):
    there, back = await asyncio.open_connection(host, port)
    await asyncio.gather(forward(reader, back, 0), forward(there, writer, DELAY_S))
    writer.close()
    back.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print("%s:%d" % server.sockets[0].getsockname(), flush=True)
    await server.serve_forever()


asyncio.run(main())
