"""Listens to calls as Twilio's <Start><Stream> lets one: a WebSocket server on the `websockets` library that says nothing.

Prints one JSON object a line: {"listening": PORT}, then every message as it came, but of media {"track": …, "chunk": …, "byte": …}
with the first byte of the audio.
"""

import base64
import json

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve


def say(event):
    print(json.dumps(event), flush=True)


def listen(socket):
    try:
        for text in socket:
            message = json.loads(text)
            if message["event"] == "media":
                media = message["media"]
                say({"track": media["track"], "chunk": media["chunk"], "byte": base64.b64decode(media["payload"])[0]})
            else:
                say(message)
    except ConnectionClosed:
        pass
    say({"closed": True})


if __name__ == "__main__":
    with serve(listen, "127.0.0.1", 0) as server:
        say({"listening": server.socket.getsockname()[1]})
        server.serve_forever()
