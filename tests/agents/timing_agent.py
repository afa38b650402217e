"""A Twilio Media Streams agent on the `websockets` library that says a minute of audio at once.

The minute is blocks that can be told apart: all bytes of block N are N + 1, and the mark "N" is behind it. Once all of it has
been played, it says some seconds more, of bytes 0x60 + R in round R, with marks in them, and forgets them ("clear") when the first of
those marks comes back; once all have come back, the next round begins. After the last it hangs up when half a second of silence
has been played.

Prints one JSON object a line: {"listening": PORT}, then every message but media as it came.
"""

import base64
import json

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

BLOCKS = 24
BLOCK_BYTES = 20_000  # 2.5 s
CHUNK = 320  # 40 ms, as Pipecat bots send
ROUNDS = 5
MORE = ["begun", "first", "second", "third"]
MORE_BYTES = 2400  # 0.3 s
MORE_BYTE = 0x60


def say(event):
    print(json.dumps(event), flush=True)


def answer(socket):
    stream = None

    def send(event, **rest):
        socket.send(json.dumps({"event": event, "streamSid": stream, **rest}))

    def speak(audio, mark):
        for first in range(0, len(audio), CHUNK):
            payload = base64.b64encode(audio[first:first + CHUNK]).decode()
            send("media", media={"payload": payload})
        send("mark", mark={"name": mark})

    def begin():
        for mark in MORE:
            speak(bytes([MORE_BYTE + rounds]) * MORE_BYTES, f"{mark}-{rounds}")

    rounds = returned = 0
    try:
        for text in socket:
            message = json.loads(text)
            if message["event"] == "media":
                continue
            say(message)
            if message["event"] == "start":
                stream = message["streamSid"]
                for block in range(BLOCKS):
                    speak(bytes([block + 1]) * BLOCK_BYTES, str(block))
            if message["event"] == "mark":
                name, *more = message["mark"]["name"].split("-")
                returned += bool(more)
                if name == str(BLOCKS - 1):
                    begin()
                if name == MORE[0]:
                    send("clear")
                if returned == len(MORE):
                    rounds, returned = rounds + 1, 0
                    if rounds == ROUNDS:
                        speak(b"\xff" * 4000, "end")
                    else:
                        begin()
                if name == "end":
                    break
    except ConnectionClosed:
        pass


if __name__ == "__main__":
    with serve(answer, "127.0.0.1", 0) as server:
        say({"listening": server.socket.getsockname()[1]})
        server.serve_forever()
