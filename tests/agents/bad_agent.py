"""Agents as they should not be, on plain sockets.

refuse   answers the WebSocket handshake with 403
silent   accepts the connection and says nothing at all
frozen   completes the handshake, then neither reads nor writes, not even a pong
garbage  completes the handshake, then sends 200 texts that are no JSON
long     completes the handshake, then sends a text of 3 MiB

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


def shake_hands(connection):
    headers = dict(
        (name.strip().lower(), value.strip())
        for name, _, value in (line.partition(b":") for line in request(connection).split(b"\r\n")[1:])
    )
    accept = base64.b64encode(hashlib.sha1(headers[b"sec-websocket-key"] + WEBSOCKET).digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


def frozen(connection):
    shake_hands(connection)
    threading.Event().wait()


def hear(connection):
    """Reads until the other side is gone."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass


def garbage(connection):
    shake_hands(connection)
    connection.sendall(b"\x81\x08{no json" * 200)
    hear(connection)


def long(connection):
    shake_hands(connection)
    length = 3 << 20
    try:
        connection.sendall(b"\x81\x7f" + length.to_bytes(8, "big") + b" " * length)
    except ConnectionError:
        pass
    hear(connection)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("behaviour", choices=["refuse", "silent", "frozen", "garbage", "long"])
    arguments.add_argument("--listen", default="127.0.0.1")
    arguments.add_argument("--port", type=int, default=0)
    arguments = arguments.parse_args()
    behaviours = {"refuse": refuse, "silent": silent, "frozen": frozen, "garbage": garbage, "long": long}
    behave = behaviours[arguments.behaviour]
    with socket.create_server((arguments.listen, arguments.port)) as server:
        print(json.dumps({"listening": server.getsockname()[1]}), flush=True)
        while True:
            connection, _ = server.accept()
            threading.Thread(target=behave, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
