"""A pipecat bot with pipecat's own serializer and transport: it answers when the caller has spoken, falls silent when the caller
interrupts, says goodbye after that, and hangs up.

Where a bot of yours has speech recognition, a language model and speech synthesis, this one has tones, so that it needs no
account anywhere; and it takes what is loud for speech, so that it needs no model.

    pip install "pipecat-ai[websocket]" uvicorn
    BASE_URL=http://127.0.0.1:5080 AUTH_TOKEN=… uvicorn pipecat_bot:app --host 0.0.0.0 --port 8080
"""

import json
import math
import os

import numpy
from fastapi import FastAPI, WebSocket
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADParams
from pipecat.frames.frames import (
    EndWorkerFrame,
    OutputAudioRawFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.audio.vad_processor import VADProcessor
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner

RATE = 8000
ANSWER = (600, 20)  # Hz, seconds
GOODBYE = (800, 1)

app = FastAPI()


class Loudness(VADAnalyzer):
    """Takes what is loud for speech."""

    def num_frames_required(self):
        return self.sample_rate // 50

    def voice_confidence(self, buffer):
        samples = numpy.frombuffer(buffer, numpy.int16).astype(float)
        return 1.0 if numpy.sqrt(numpy.mean(samples**2)) > 500 else 0.0


class Conversation(FrameProcessor):
    """What is said when."""

    answered = False

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, VADUserStoppedSpeakingFrame) and not self.answered:
            self.answered = True
            await self.say(*ANSWER)
        elif isinstance(frame, VADUserStartedSpeakingFrame) and self.answered:
            await self.broadcast_interruption()
            await self.say(*GOODBYE)
            await self.push_frame(EndWorkerFrame())

    async def say(self, hertz, seconds):
        samples = (int(8000 * math.sin(2 * math.pi * hertz * n / RATE)) for n in range(seconds * RATE))
        audio = numpy.fromiter(samples, numpy.int16).tobytes()
        await self.push_frame(OutputAudioRawFrame(audio=audio, sample_rate=RATE, num_channels=1))


@app.websocket("/media")
async def media(websocket: WebSocket):
    await websocket.accept()
    await websocket.receive_text()  # connected
    start = json.loads(await websocket.receive_text())["start"]
    serializer = TwilioFrameSerializer(
        stream_sid=start["streamSid"],
        call_sid=start["callSid"],
        account_sid=start["accountSid"],
        auth_token=os.environ["AUTH_TOKEN"],
        base_url=os.environ["BASE_URL"],
    )
    params = FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True, serializer=serializer)
    transport = FastAPIWebsocketTransport(websocket, params)
    vad = VADProcessor(vad_analyzer=Loudness(params=VADParams(min_volume=0.0)))
    pipeline = Pipeline([transport.input(), vad, Conversation(), transport.output()])
    worker = PipelineWorker(pipeline, params=PipelineParams(audio_in_sample_rate=RATE, audio_out_sample_rate=RATE))

    @transport.event_handler("on_client_disconnected")
    async def on_client_disconnected(transport, client):
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()
