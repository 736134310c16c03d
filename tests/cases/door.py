"""Relays connections from this process's cgroup to a port, for a client that stands outside. Prints its own port."""

import asyncio
import sys


async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()


# The loop itself holds them weakly.
held = set()


async def enter(reader, writer):
    held.add(asyncio.current_task())
    try:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
    except OSError:
        writer.close()
        held.discard(asyncio.current_task())
        return
    await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))
    inner_writer.close()
    writer.close()
    held.discard(asyncio.current_task())


async def main():
    server = await asyncio.start_server(enter, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    # The pipe closes with whoever started this, however that ends.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


asyncio.run(main())
