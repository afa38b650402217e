"""A Twilio Media Streams agent on the `websockets` library: plays a tone to the caller and keeps what it hears.

Prints one JSON object a line: {"listening": PORT}, then every message but media as it came, then at the end of a stream
{"heard": BYTES, "untimely": MEDIA}, which counts media whose timestamp is not that of the audio before it. What is heard is appended to --record as raw 8 kHz u-law.
"""

import argparse
import base64
import json
import math
import sys
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

CHUNK = 320  # bytes: 40 ms, as Pipecat bots send


def ulaw(sample):
    """One 16-bit sample as G.711 u-law."""
    magnitude = min(abs(sample), 32635) + 132
    segment = magnitude.bit_length() - 8
    mantissa = (magnitude >> (segment + 3)) & 0x0F
    return ~((0x80 if sample < 0 else 0) | segment << 4 | mantissa) & 0xFF


def tone(hertz, seconds):
    return bytes(
        ulaw(int(8000 * math.sin(2 * math.pi * hertz * n / 8000)))
        for n in range(int(8000 * seconds))
    )


def say(event):
    print(json.dumps(event), flush=True)


def answer(socket, sound, record, transfer):
    """Sends the whole sound at once, faster than it can be played, then a mark; listens until the caller is gone, or, where the
    parameter "then" is "leave", until the sound is played."""
    heard = untimely = 0
    leaves = False
    try:
        for text in socket:
            message = json.loads(text)
            if message["event"] == "media":
                audio = base64.b64decode(message["media"]["payload"])
                untimely += message["media"]["timestamp"] != str(heard // 8)
                heard += len(audio)
                record.write(audio)
                record.flush()
                continue
            say(message)
            if message["event"] == "start":
                stream = message["start"]["streamSid"]
                leaves = message["start"].get("customParameters", {}).get("then") == "leave"
                for first in range(0, len(sound), CHUNK):
                    payload = base64.b64encode(sound[first:first + CHUNK]).decode()
                    socket.send(json.dumps({"event": "media", "streamSid": stream, "media": {"payload": payload}}))
                socket.send(json.dumps({"event": "mark", "streamSid": stream, "mark": {"name": "played"}}))
            if message["event"] == "start" and transfer and "transferStatus" not in message["start"]["customParameters"]:
                # Asks and goes, as bots do.
                socket.send(json.dumps({"event": "transfer", "streamSid": stream, "transfer": {"to": transfer}}))
                break
            if message["event"] == "stop" or leaves and message["event"] == "mark":
                break
    except ConnectionClosed:
        pass
    say({"heard": heard, "untimely": untimely})


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--listen", default="127.0.0.1")
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--tone", type=float, default=600.0, help="Hz")
    arguments.add_argument("--seconds", type=float, default=5.0)
    arguments.add_argument("--record", required=True)
    arguments.add_argument("--transfer", help="number that the call is given to at once")
    arguments.add_argument("--late", type=float, default=0.0, help="seconds before the handshake is answered")
    arguments = arguments.parse_args()
    sound = tone(arguments.tone, arguments.seconds)
    with open(arguments.record, "wb") as record:
        def handle(socket):
            answer(socket, sound, record, arguments.transfer)

        def wait(_socket, _request):
            time.sleep(arguments.late)

        with serve(handle, arguments.listen, arguments.port, process_request=wait) as server:
            say({"listening": server.socket.getsockname()[1]})
            server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
