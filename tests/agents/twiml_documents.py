"""Writes documents with the official `twilio` package's VoiceResponse, a line each: the verbs that are expected to be read of
it, or "refused", a tab, the document. Its output is control/src/twiml/document/twilio_documents.txt."""

from twilio.twiml.voice_response import Connect, Dial, Refer, Start, Stop, VoiceResponse


def say(expected, build):
    response = VoiceResponse()
    build(response)
    print(f"{expected}\t{response}")


def connect(response, **attributes):
    connect = Connect(**attributes)
    stream = connect.stream(url="wss://bot.example/media", name="bot", status_callback="https://app.example/stream")
    stream.parameter(name="caller", value="Zoë & \"Co\"")
    response.append(connect)


def dial(response, noun, *arguments, **attributes):
    dial = Dial(**attributes)
    getattr(dial, noun)(*arguments)
    response.append(dial)


def dial_two(response):
    dial = Dial()
    dial.number("+15550100")
    dial.number("+15550101")
    response.append(dial)


def refer(response, **attributes):
    refer = Refer(**attributes)
    refer.sip("sip:alice@example.com")
    response.append(refer)


def greet_then_dial(response):
    response.play("https://app.example/hello.wav", loop=2)
    response.pause(length=2)
    response.dial("415-123-4567")
    response.redirect("/again", method="GET")


def listen(response):
    start = Start()
    stream = start.stream(name="both", url="wss://listener.example/", track="both_tracks", status_callback="/stream")
    stream.parameter(name="caller", value="Zoë")
    response.append(start)
    response.pause(length=5)
    stop = Stop()
    stop.stream(name="both")
    response.append(stop)


say("", lambda response: None)
say("Start Pause Stop", listen)
say("Connect", connect)
say("Connect", lambda response: connect(response, action="/next", method="GET"))
say("Dial", lambda response: response.dial("415-123-4567"))
say("Dial", lambda response: response.dial("+15550100", caller_id="+15551234", timeout=10, hangup_on_star=True, time_limit=60))
say("Dial", lambda response: dial(response, "number", "+15550100", action="/done", method="POST", answer_on_bridge=True))
say("Dial", lambda response: dial(response, "sip", "sip:kate@example.com"))
say("Dial", lambda response: dial(response, "sip", "sip:kate@example.com;transport=tcp"))
say("refused", dial_two)
say("refused", lambda response: dial(response, "client", "jenny"))
say("refused", lambda response: dial(response, "conference", "room"))
say("refused", lambda response: dial(response, "queue", "support"))
say("Hangup", lambda response: response.hangup())
say("Pause", lambda response: response.pause(length=10))
say("Play", lambda response: response.play("https://api.twilio.com/cowbell.wav", loop=10))
say("Play", lambda response: response.play("https://api.twilio.com/cowbell.wav", loop=0))
say("refused", lambda response: response.play("", digits="wwww3"))
say("Redirect", lambda response: response.redirect("http://pets.example/nextInstructions"))
say("Redirect", lambda response: response.redirect("../nextInstructions", method="POST"))
say("Refer", refer)
say("Refer", lambda response: refer(response, action="/handleRefer", method="POST"))
say("Reject", lambda response: response.reject())
say("Reject", lambda response: response.reject(reason="busy"))
say("Play Pause Dial Redirect", greet_then_dial)
say("refused", lambda response: response.say("Hello"))
say("refused", lambda response: response.gather(input="dtmf"))
say("refused", lambda response: response.record())
say("refused", lambda response: response.enqueue("support"))
