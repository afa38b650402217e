"""A bot that the listen verb of jambonz reaches, after https://docs.jambonz.org/verbs/verbs/listen
(bidirectionalAudio.streaming: true, passDtmf: true)."""

import json

from conversation import Bot, run


class Jambonz(Bot):
    started = False

    def understand(self, message):
        if isinstance(message, bytes):
            yield "audio", self.narrow(message)
            return
        message = json.loads(message)
        if not self.started:
            self.started = True
            self.rate = message["sampleRate"]
            yield "start", message
        elif message.get("event") == "dtmf":
            yield "key", message["dtmf"]
        elif message["type"] == "mark":
            yield "note", message["data"]["event"]
            yield "mark", message["data"]["name"]
        else:
            yield "note", message["type"]

    def speak(self, pcm):
        self.socket.send(pcm)

    def mark(self, name):
        self.send({"type": "mark", "data": {"name": name}})

    def clear(self):
        self.send({"type": "killAudio"})

    def hang_up(self):
        self.send({"type": "disconnect"})


if __name__ == "__main__":
    run(Jambonz, subprotocols=["audio.jambonz.org"])
