"""A bot that Telnyx's media streaming reaches, after
https://developers.telnyx.com/docs/voice/programmable-voice/media-streaming (stream_bidirectional_mode: rtp)."""

import base64
import json

from conversation import Bot, run, samples
from tone_agent import ulaw


def linear(code):
    """One G.711 u-law code as a 16-bit sample."""
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + 132) << (code >> 4 & 7)
    return 132 - magnitude if code & 0x80 else magnitude - 132


class Telnyx(Bot):
    def understand(self, message):
        message = json.loads(message)
        event = message["event"]
        if event == "media":
            yield "audio", [linear(code) for code in base64.b64decode(message["media"]["payload"])]
        elif event == "start":
            assert message["start"]["media_format"] == {"encoding": "PCMU", "sample_rate": 8000, "channels": 1}
            yield "start", message
        elif event == "mark":
            yield "mark", message["mark"]["name"]
        elif event == "dtmf":
            yield "key", message["dtmf"]["digit"]
        else:
            yield "note", event

    def speak(self, pcm):
        payload = base64.b64encode(bytes(ulaw(sample) for sample in samples(pcm))).decode()
        self.send({"event": "media", "media": {"payload": payload}})

    def mark(self, name):
        self.send({"event": "mark", "mark": {"name": name}})

    def clear(self):
        self.send({"event": "clear"})


if __name__ == "__main__":
    run(Telnyx)
