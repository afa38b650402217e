"""A Twilio Media Streams agent for very many calls at once, on plain asyncio: says a tone to each, and throws away what
it hears.

With --deaf the first call is not read from after its handshake, though it goes on talking: what the gateway has for it piles up
there. Prints {"listening": PORT} when it is there.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import socket

WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3


def frame(text):
    """A text message of a server: not masked."""
    length = len(text)
    assert 126 <= length < 65536
    return b"\x81\x7e" + length.to_bytes(2, "big") + text


def second():
    """A second of a tone of 4 kHz."""
    audio = base64.b64encode(bytes([0x10, 0x90] * 4000)).decode()
    return frame(json.dumps({"event": "media", "streamSid": "MZ", "media": {"payload": audio}}).encode())


class Call(asyncio.Protocol):
    deaf = False
    second = second()

    def connection_made(self, transport):
        self.transport = transport
        self.request = b""
        self.is_deaf, Call.deaf = Call.deaf, False

    def data_received(self, data):
        if self.request is None:
            return
        self.request += data
        if b"\r\n\r\n" not in self.request:
            return
        lines = (line.partition(b":") for line in self.request.split(b"\r\n")[1:])
        headers = {name.strip().lower(): value.strip() for name, _, value in lines}
        self.request = None
        accept = base64.b64encode(hashlib.sha1(headers[b"sec-websocket-key"] + WEBSOCKET).digest())
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + Call.second
        )
        if self.is_deaf:
            self.transport.pause_reading()
        self.say()

    def say(self):
        """Says a second every second, one ahead: a sign of life, too."""
        if not self.transport.is_closing():
            self.transport.write(Call.second)
            asyncio.get_running_loop().call_later(1.0, self.say)


async def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--deaf", action="store_true")
    Call.deaf = arguments.parse_args().deaf
    listener = socket.socket()
    # What is not read is to pile up at the gateway, not in between.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listener.bind(("127.0.0.1", 0))
    server = await asyncio.get_running_loop().create_server(Call, sock=listener, backlog=1024)
    print(json.dumps({"listening": listener.getsockname()[1]}), flush=True)
    await server.serve_forever()


asyncio.run(main())
