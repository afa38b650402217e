"""A bot that Asterisk's chan_websocket reaches, after
https://docs.asterisk.org/Configuration/Channel-Drivers/WebSocket/ (plain-text control messages, slin16)."""

from conversation import Bot, run

LONGEST = 65500  # bytes of a message


class Asterisk(Bot):
    rate = 16000

    def understand(self, message):
        if isinstance(message, bytes):
            yield "audio", self.narrow(message)
            return
        event, *words = message.split(" ")
        values = dict(word.split(":", 1) for word in words if ":" in word)
        if event == "MEDIA_START":
            assert values["format"] == "slin16"
            yield "start", values
        elif event == "MEDIA_MARK_PROCESSED":
            yield "mark", words[0]
        elif event == "DTMF_END":
            yield "key", values["digit"]
        else:
            self.paused = {"MEDIA_XOFF": True, "MEDIA_XON": False}.get(event, self.paused)
            yield "note", event

    def speak(self, pcm):
        self.socket.send("START_MEDIA_BUFFERING")
        for first in range(0, len(pcm), LONGEST):
            self.socket.send(pcm[first:first + LONGEST])
        self.socket.send("STOP_MEDIA_BUFFERING")

    def mark(self, name):
        self.socket.send(f"MARK_MEDIA {name}")

    def clear(self):
        self.socket.send("REPORT_QUEUE_DRAINED")
        self.socket.send("FLUSH_MEDIA")

    def hang_up(self):
        self.socket.send("HANGUP")


if __name__ == "__main__":
    run(Asterisk, subprotocols=["media"])
