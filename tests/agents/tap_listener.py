"""Listens to calls as Twilio's <Start><Stream> lets one: a WebSocket server on the `websockets` library that says nothing.

Prints one JSON object a line: {"listening": PORT}, then every message as it came, but of media {"track": …, "chunk": …,
"timestamp": …, "sequence": …, "byte": …} with the first byte of the audio. What is heard of each track is appended to
--record followed by its name, as raw 8 kHz u-law.
"""

import argparse
import base64
import json
import ssl

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve


def say(event):
    print(json.dumps(event), flush=True)


def heard(message, record):
    media = message["media"]
    audio = base64.b64decode(media["payload"])
    with open(f"{record}.{media['track']}", "ab") as file:
        file.write(audio)
    say({
        "track": media["track"],
        "chunk": int(media["chunk"]),
        "timestamp": int(media["timestamp"]),
        "sequence": int(message["sequenceNumber"]),
        "byte": audio[0],
    })


def listen(socket, record):
    try:
        for text in socket:
            message = json.loads(text)
            if message["event"] == "media":
                heard(message, record)
            else:
                say(message)
    except ConnectionClosed:
        pass
    say({"closed": True})


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--record", required=True, help="where tracks are kept")
    arguments.add_argument("--certificate", help="file with a certificate and its key: TLS only")
    arguments = arguments.parse_args()
    context = None
    if arguments.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.certificate)
    with serve(lambda socket: listen(socket, arguments.record), "127.0.0.1", 0, ssl=context) as server:
        say({"listening": server.socket.getsockname()[1]})
        server.serve_forever()


if __name__ == "__main__":
    main()
