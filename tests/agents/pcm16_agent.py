"""A bot for the protocol of docs/agents/pcm16.md."""

import json

from conversation import Bot, run


class Pcm16(Bot):
    def understand(self, message):
        if isinstance(message, bytes):
            yield "audio", self.narrow(message)
            return
        message = json.loads(message)
        kind = message["type"]
        if kind == "start":
            self.rate = message["sample_rate"]
            yield "start", message
        elif kind == "mark":
            yield "note", "played" if message["played"] else "cleared"
            yield "mark", message["name"]
        elif kind == "dtmf":
            yield "key", message["digit"]
        else:
            yield "note", kind

    def speak(self, pcm):
        self.socket.send(pcm)

    def mark(self, name):
        self.send({"type": "mark", "name": name})

    def clear(self):
        self.send({"type": "clear"})

    def hang_up(self):
        self.send({"type": "hangup"})


if __name__ == "__main__":
    run(Pcm16)
