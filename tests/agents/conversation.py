"""What every bot of the protocol tests does, whatever it speaks; the scripts beside this one speak it.

It says a tone and waits for the mark behind it, then begins another tone that is too long; key 1 interrupts that, key 2 hangs up.
Prints one JSON object a line: {"listening": PORT}, {"asked": HEADERS}, then what it understands, one key each: "start",
"mark", "key" or "note"; at the end {"heard": SAMPLES}. What it hears is written to --record as 8 kHz u-law.
"""

import argparse
import json
import math
import struct

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

from tone_agent import say, ulaw

TONE = 600  # Hz


def tone(rate, seconds):
    """Linear samples, 16 bits, little-endian: half a second, in which the tone has whole periods, as often as it takes."""
    half = [int(8000 * math.sin(2 * math.pi * TONE * n / rate)) for n in range(rate // 2)]
    return struct.pack(f"<{len(half)}h", *half) * int(2 * seconds)


def samples(pcm):
    return struct.unpack(f"<{len(pcm) // 2}h", pcm)


class Bot:
    """To be completed: `rate`, `understand` and what is sent."""

    rate = 8000
    paused = False

    def __init__(self, socket):
        self.socket = socket
        self.waiting = b""

    def send(self, message):
        self.socket.send(json.dumps(message))

    def understand(self, message):
        """Yields (kind, value): ("audio", linear samples at 8 kHz), ("start", …), ("mark", name), ("key", digit), ("note", …)."""
        raise NotImplementedError

    def speak(self, pcm):
        raise NotImplementedError

    def mark(self, name):
        raise NotImplementedError

    def clear(self):
        raise NotImplementedError

    def hang_up(self):
        self.socket.close()

    def say_some(self):
        """Half a second of what waits to be said, unless the other side has asked for a pause."""
        if not self.paused and self.waiting:
            length = self.rate
            self.speak(self.waiting[:length])
            self.waiting = self.waiting[length:]

    def narrow(self, pcm):
        """8 kHz of what is a multiple of that."""
        return samples(pcm)[:: self.rate // 8000]


def converse(bot, record):
    while True:
        try:
            message = bot.socket.recv(timeout=0.01)
        except TimeoutError:
            bot.say_some()
            continue
        for kind, value in bot.understand(message):
            if kind == "audio":
                record.write(bytes(ulaw(sample) for sample in value))
                record.flush()
                continue
            say({kind: value})
            if kind == "start":
                bot.speak(tone(bot.rate, 0.5))
                bot.mark("spoken")
            elif (kind, value) == ("mark", "spoken"):
                bot.waiting = tone(bot.rate, 30)
            elif (kind, value) == ("key", "1"):
                bot.waiting = b""
                bot.mark("interrupted")
                bot.clear()
            elif (kind, value) == ("key", "2"):
                bot.hang_up()
            elif (kind, value) == ("note", "stop"):
                return
        bot.say_some()


def run(make, subprotocols=None):
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--record", required=True)
    arguments = arguments.parse_args()

    def answer(socket):
        say({"asked": dict(socket.request.headers)})
        with open(arguments.record, "wb") as record:
            try:
                converse(make(socket), record)
            except ConnectionClosed as closed:
                say({"closed": closed.rcvd.code if closed.rcvd else None})
            say({"heard": record.tell()})

    with serve(answer, "127.0.0.1", 0, subprotocols=subprotocols) as server:
        say({"listening": server.socket.getsockname()[1]})
        server.serve_forever()
