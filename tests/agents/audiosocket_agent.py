"""An AudioSocket server, from Asterisk's documentation
(https://docs.asterisk.org/Configuration/Channel-Drivers/AudioSocket/): plays a tone to the caller and keeps what it hears.

A message is a kind (1 byte), a length (2 bytes, big-endian) and a payload: 0x00 hang up, 0x01 UUID, 0x03 DTMF digit, 0x10 audio
(16-bit samples, little-endian, mono, 8 kHz), 0x12 the same at 16 kHz, 0xff error.

Prints one JSON object a line: {"listening": PORT}, {"uuid": HEX}, {"digit": KEY}, then at the end of a call {"heard": SAMPLES,
"ended": whether the other side hung up}. What is heard is appended to --record as raw 16-bit samples. After the key "#" it hangs
up itself.
"""

import argparse
import json
import math
import socket
import struct
import threading
import uuid

RATES = {0x10: 8000, 0x12: 16000}


def say(event):
    print(json.dumps(event), flush=True)


def messages(connection):
    stream = connection.makefile("rb")
    while True:
        header = stream.read(3)
        if len(header) < 3:
            return
        kind, length = struct.unpack(">BH", header)
        yield kind, stream.read(length)


def tone(hertz, rate, seconds):
    samples = (int(8000 * math.sin(2 * math.pi * hertz * n / rate)) for n in range(int(rate * seconds)))
    return b"".join(struct.pack("<h", sample) for sample in samples)


def answer(connection, arguments):
    heard, ended, played = 0, False, False
    with open(arguments.record, "ab") as record:
        try:
            for kind, payload in messages(connection):
                if kind == 0x00:
                    ended = True
                    break
                if kind == 0x01:
                    say({"uuid": uuid.UUID(bytes=payload).hex})
                elif kind == 0x03:
                    say({"digit": payload.decode()})
                    if payload == b"#":
                        connection.sendall(b"\x00\x00\x00")
                        break
                elif kind in RATES:
                    heard += len(payload) // 2
                    record.write(payload)
                    record.flush()
                    if not played:
                        # All at once, in messages of 20 ms.
                        played, rate = True, RATES[kind]
                        sound = tone(arguments.tone, rate, arguments.seconds)
                        size = rate // 50 * 2
                        for first in range(0, len(sound), size):
                            part = sound[first:first + size]
                            connection.sendall(struct.pack(">BH", kind, len(part)) + part)
        except ConnectionError:
            pass
    connection.close()
    say({"heard": heard, "ended": ended})


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--listen", default="127.0.0.1")
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--tone", type=float, default=600.0, help="Hz")
    arguments.add_argument("--seconds", type=float, default=5.0)
    arguments.add_argument("--record", required=True)
    arguments = arguments.parse_args()
    with socket.create_server((arguments.listen, arguments.port)) as server:
        say({"listening": server.getsockname()[1]})
        while True:
            connection, _ = server.accept()
            threading.Thread(target=answer, args=(connection, arguments), daemon=True).start()


if __name__ == "__main__":
    main()
