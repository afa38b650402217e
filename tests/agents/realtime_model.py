"""A model of OpenAI's Realtime API as its documentation has it, on `websockets`: what the client sends is held against the types of
the official `openai` package, and what is sent is made of them.

It greets with a tone of 600 Hz, 4 s long and sent at once. When it has heard two seconds of sound it tells of speech, waits until
the client has cut the greeting short, answers with a second of 800 Hz, and calls a function: `hang_up`, or, as model "transfers",
`transfer_call` with the number in --transfer.

Prints one JSON object a line: {"listening": PORT}, then for every session {"authorization", "model"}, every event of the client but
audio as it came, and {"heard": BYTES} at the end. What is heard is appended to --record as raw 8 kHz u-law.
"""

import argparse
import base64
import http
import json
import math
import sys
from urllib.parse import parse_qs, urlparse

from openai.types.realtime import (
    InputAudioBufferSpeechStartedEvent,
    RealtimeClientEvent,
    RealtimeErrorEvent,
    RealtimeResponse,
    ResponseAudioDeltaEvent,
    ResponseDoneEvent,
    ResponseFunctionCallArgumentsDoneEvent,
)
from openai.types.realtime.realtime_error import RealtimeError
from pydantic import TypeAdapter
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

from tone_agent import tone

CLIENT_EVENT = TypeAdapter(RealtimeClientEvent)
PART = 1600  # bytes: 200 ms
SPEECH = 16000  # bytes of sound until speech is told of: 2 s


def say(event):
    print(json.dumps(event), flush=True)


class Session:
    """One conversation."""

    def __init__(self, socket, record, model, transfer):
        self.socket, self.record, self.model, self.transfer = socket, record, model, transfer
        self.heard = self.loud = self.events = 0
        self.told = False

    def send(self, event):
        self.events += 1
        self.socket.send(event.model_dump_json(exclude_none=True))

    def event_id(self):
        return f"event_{self.events}"

    def speak(self, response, item, sound):
        for first in range(0, len(sound), PART):
            delta = base64.b64encode(sound[first:first + PART]).decode()
            self.send(ResponseAudioDeltaEvent(
                type="response.output_audio.delta", event_id=self.event_id(), response_id=response, item_id=item,
                output_index=0, content_index=0, delta=delta))

    def done(self, response, status="completed"):
        self.send(ResponseDoneEvent(
            type="response.done", event_id=self.event_id(), response=RealtimeResponse(id=response, status=status)))

    def call(self, response, name, arguments):
        self.send(ResponseFunctionCallArgumentsDoneEvent(
            type="response.function_call_arguments.done", event_id=self.event_id(), response_id=response,
            item_id="item_call", output_index=1, call_id="call_1", name=name, arguments=json.dumps(arguments)))

    def on_audio(self, audio):
        self.heard += len(audio)
        self.record.write(audio)
        self.record.flush()
        # Loud u-law has few zeros and ones in its upper half: silence is 0xff and 0x7f.
        self.loud += sum(1 for byte in audio if byte & 0x7F < 0x60)
        if self.loud > SPEECH // 2 and not self.told:
            self.told = True
            self.send(InputAudioBufferSpeechStartedEvent(
                type="input_audio_buffer.speech_started", event_id=self.event_id(), audio_start_ms=0, item_id="item_caller"))
            self.done("resp_1", "cancelled")

    def on(self, text):
        event = CLIENT_EVENT.validate_json(text)
        kind = event.type
        if kind == "input_audio_buffer.append":
            return self.on_audio(base64.b64decode(event.audio))
        say(json.loads(text))
        if kind == "session.update":
            formats = event.session.audio.input.format.type, event.session.audio.output.format.type
            if formats != ("audio/pcmu", "audio/pcmu"):
                return self.send(RealtimeErrorEvent(
                    type="error", event_id=self.event_id(),
                    error=RealtimeError(type="invalid_request_error", message=f"not PCMU: {formats}")))
            self.socket.send(json.dumps(
                {"type": "session.updated", "event_id": self.event_id(), "session": json.loads(text)["session"]}))
        elif kind == "response.create":
            self.speak("resp_1", "item_1", tone(600, 4))
            self.done("resp_1")
        elif kind == "conversation.item.truncate":
            self.speak("resp_2", "item_2", tone(800, 1))
            if self.model == "transfers":
                self.call("resp_2", "transfer_call", {"to": self.transfer})
            else:
                self.call("resp_2", "hang_up", {})
            self.done("resp_2")


def admit(key, connection, request):
    """Refuses a client without the key."""
    good = request.headers.get("Authorization") == f"Bearer {key}"
    return None if good else connection.respond(http.HTTPStatus.UNAUTHORIZED, "Incorrect API key provided\n")


def answer(socket, arguments):
    model = parse_qs(urlparse(socket.request.path).query)["model"][0]
    say({"authorization": "good", "model": model})
    with open(arguments.record, "ab") as record:
        session = Session(socket, record, model, arguments.transfer)
        try:
            for text in socket:
                session.on(text)
        except ConnectionClosed:
            pass
    say({"heard": session.heard})


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--listen", default="127.0.0.1")
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--key", required=True, help="API key")
    arguments.add_argument("--transfer", required=True, help="number that calls are transferred to")
    arguments.add_argument("--record", required=True)
    arguments = arguments.parse_args()
    with serve(
        lambda socket: answer(socket, arguments),
        arguments.listen,
        arguments.port,
        process_request=lambda connection, request: admit(arguments.key, connection, request),
    ) as server:
        say({"listening": server.socket.getsockname()[1]})
        server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
