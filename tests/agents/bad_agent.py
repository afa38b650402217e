"""Agents as they should not be, on plain sockets.

refuse   answers the WebSocket handshake with 403
silent   accepts the connection and says nothing at all
frozen   completes the handshake, then neither reads nor writes, not even a pong

Prints {"listening": PORT} when it is there.
"""

import argparse
import base64
import hashlib
import json
import socket
import threading

WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3


def request(connection):
    text = b""
    while b"\r\n\r\n" not in text:
        part = connection.recv(4096)
        if not part:
            break
        text += part
    return text


def refuse(connection):
    request(connection)
    connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    connection.close()


def silent(_connection):
    threading.Event().wait()


def frozen(connection):
    headers = dict(
        (name.strip().lower(), value.strip())
        for name, _, value in (line.partition(b":") for line in request(connection).split(b"\r\n")[1:])
    )
    accept = base64.b64encode(hashlib.sha1(headers[b"sec-websocket-key"] + WEBSOCKET).digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    threading.Event().wait()


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("behaviour", choices=["refuse", "silent", "frozen"])
    arguments.add_argument("--listen", default="127.0.0.1")
    arguments.add_argument("--port", type=int, default=0)
    arguments = arguments.parse_args()
    behave = {"refuse": refuse, "silent": silent, "frozen": frozen}[arguments.behaviour]
    with socket.create_server((arguments.listen, arguments.port)) as server:
        print(json.dumps({"listening": server.getsockname()[1]}), flush=True)
        while True:
            connection, _ = server.accept()
            threading.Thread(target=behave, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
