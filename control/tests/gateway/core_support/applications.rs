//! Calls that are given to applications, between SIP user agents in memory.

use std::sync::Arc as Shared;

use voxlane::campaign::{Change, PlaceError, Updated};
use voxlane::twiml::application::{Page, Source};
use voxlane::twiml::{Problem, code};
use voxlane::web::{Answer, Answered, Wants};
use voxlane_dataplane::media_plane::{AgentSpec, TapEvent, TrackName};

use super::*;

const NUMBERS: &str = r#"
[[tenant]]
name = "acme"
account_sid = "AC0123456789abcdef0123456789abcdef"
auth_token = "12345"
status_callback = "http://app.example/status"
status_callback_event = ["initiated", "ringing", "answered", "completed"]

[[did]]
number = "+15557000"
tenant = "acme"
voice_url = "http://app.example/voice"
voice_fallback_url = "http://app.example/fallback"
dial_trunks = ["third", "carrier"]
"#;

const APPLICATION: &str = "+15557000";

fn world() -> World {
    World::with(&format!("{CONFIG}{NUMBERS}"), |_, _| Ok(address(GATEWAY)))
}

impl World {
    /// The request of the path that waits for an answer, the first of them.
    fn take_asked(&mut self, path: &str) -> (RequestId, Request) {
        let at = self.web.iter().position(|(_, request)| request.link.url.path() == path);
        let waiting: Vec<&str> = self.web.iter().map(|(_, request)| request.link.url.path()).collect();
        self.web
            .remove(at.unwrap_or_else(|| panic!("nothing is asked of {path}, but of {waiting:?}")))
    }

    fn respond(&mut self, id: RequestId, answered: Answered) {
        self.core.responded(self.now, id, answered);
        self.settle();
    }

    /// Answers the request of a path with a document.
    fn document(&mut self, path: &str, body: &str) -> Request {
        let (id, request) = self.take_asked(path);
        assert_eq!(request.wants, Wants::Document);
        let page = Page {
            url: request.link.url.clone(),
            content_type: Some("text/xml".into()),
            text: format!("<Response>{body}</Response>"),
        };
        self.respond(id, Ok(Answer::Document(page)));
        request
    }

    /// Answers what is told of calls, until there is nothing more; what was told of `key`.
    fn told(&mut self, key: &str) -> Vec<String> {
        let mut told = Vec::new();
        while self.web.iter().any(|(_, request)| request.link.url.path() == "/status") {
            let (id, request) = self.take_asked("/status");
            assert!(request.auth_token.is_some());
            told.push(value(&request, key).unwrap_or_default());
            self.respond(id, Ok(Answer::Nothing));
        }
        told
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.core.timeout(self.now);
        self.settle();
    }

    fn agent(&self) -> Option<AgentSpec> {
        self.books.agent.lock().unwrap().clone()
    }

    /// Gives a call another document, as the REST API does.
    fn give_another(&mut self, call: &str, text: &str) -> Result<Updated, PlaceError> {
        let change = Change::Document(Source::Text(text.to_owned()));
        let changed = self.core.change_call(self.now, call, change, Requester::RestApi);
        self.settle();
        changed
    }

    /// What the media of the caller was given to.
    fn leg(&self) -> EndpointId {
        *self.books.agents.lock().unwrap().last().unwrap()
    }
}

fn value(request: &Request, key: &str) -> Option<String> {
    let found = request.parameters.iter().find(|(name, _)| name == key);
    found.map(|(_, value)| value.clone())
}

fn is_answered(events: &[Event]) -> bool {
    events.iter().any(|event| matches!(event, Event::Answered { .. }))
}

fn is_hung_up(events: &[Event]) -> bool {
    events.iter().any(|event| matches!(event, Event::Bye { .. }))
}

#[test]
fn the_first_request_says_who_calls_and_a_stream_answers_the_call() {
    let mut world = world();
    let dialog = world.call(APPLICATION);
    let request = world.document(
        "/voice",
        "<Connect><Stream url=\"ws://192.0.2.40/media\"><Parameter name=\"a\" value=\"b\"/></Stream></Connect>",
    );
    for (key, expected) in [
        ("AccountSid", "AC0123456789abcdef0123456789abcdef"),
        ("From", "+15557777"),
        ("To", APPLICATION),
        ("CallStatus", "ringing"),
        ("Direction", "inbound"),
    ] {
        assert_eq!(value(&request, key).as_deref(), Some(expected), "{key}");
    }
    let Some(AgentSpec::Web(spec)) = world.agent() else {
        panic!("no agent");
    };
    assert_eq!(spec.parameters, [("a".to_owned(), "b".to_owned())]);
    assert_eq!(Some(spec.call_sid), value(&request, "CallSid"));
    assert!(spec.headers.iter().any(|(name, _)| name == "X-Twilio-Signature"));
    assert!(!is_answered(&world.heard(CALLER)));
    world.media(MediaEvent::AgentReady(EndpointId(0)));
    assert!(is_answered(&world.heard(CALLER)));
    assert_eq!(world.told("CallStatus"), ["initiated", "ringing", "in-progress"]);
    let now = world.now;
    world.peer(CALLER).hang_up(now, dialog, None);
    world.settle();
    assert_eq!(world.told("CallStatus"), ["completed"]);
    world.assert_nothing_left();
}

#[test]
fn files_are_played_one_after_the_other_and_the_end_of_the_document_ends_the_call() {
    let mut world = world();
    world.call(APPLICATION);
    world.document("/voice", "<Play loop=\"2\">/a.wav</Play><Pause/><Play>/b.wav</Play>");
    let (id, request) = world.take_asked("/a.wav");
    assert_eq!(request.wants, Wants::Audio);
    world.respond(id, Ok(Answer::Audio(Shared::from([1u8, 2, 3]))));
    let Some(AgentSpec::Play(play)) = world.agent() else {
        panic!("no file");
    };
    assert_eq!((&*play.audio, play.times), (&[1u8, 2, 3][..], Some(2)));
    world.media(MediaEvent::AgentReady(EndpointId(0)));
    assert!(is_answered(&world.heard(CALLER)));
    world.media(MediaEvent::AgentEnded(EndpointId(0)));
    assert!(world.web.iter().all(|(_, request)| request.wants == Wants::Nothing));
    world.pass(Duration::from_secs(1));
    let (id, _) = world.take_asked("/b.wav");
    world.respond(id, Ok(Answer::Audio(Shared::from([4u8]))));
    // What ends before the new one is ready was there before.
    world.media(MediaEvent::AgentEnded(EndpointId(0)));
    assert!(!is_hung_up(&world.heard(CALLER)));
    world.media(MediaEvent::AgentReady(EndpointId(0)));
    world.media(MediaEvent::AgentEnded(EndpointId(0)));
    assert!(is_hung_up(&world.heard(CALLER)));
    world.told("CallStatus");
    world.assert_nothing_left();
}

#[test]
fn a_file_that_cannot_be_had_is_a_matter_of_the_fallback() {
    let mut world = world();
    world.call(APPLICATION);
    world.document("/voice", "<Play>/a.wav</Play>");
    let (id, _) = world.take_asked("/a.wav");
    world.respond(id, Err(Problem::new(code::HTTP_RETRIEVAL, "answered with 404")));
    let request = world.document("/fallback", "<Reject reason=\"busy\"/>");
    assert_eq!(value(&request, "ErrorCode").as_deref(), Some("11200"));
    assert_eq!(failed(&world.heard(CALLER)), Some(486));
    assert_eq!(world.told("CallStatus"), ["initiated", "ringing", "busy"]);
    let ended = &world.core.calls_report().recent[0];
    assert_eq!(ended.problems, ["answered with 404 (11200)"]);
    world.assert_nothing_left();
}

#[test]
fn an_agent_that_cannot_be_reached_is_no_reason_to_answer() {
    let mut world = world();
    world.call(APPLICATION);
    world.document("/voice", "<Connect><Stream url=\"ws://192.0.2.40/media\"/></Connect>");
    let failure = AgentFailure::Refused("403".into());
    world.media(MediaEvent::AgentFailed(EndpointId(0), failure));
    assert_eq!(failed(&world.heard(CALLER)), Some(480));
    world.told("CallStatus");
    world.assert_nothing_left();
}

#[test]
fn a_caller_who_gives_up_while_a_document_is_fetched_leaves_nothing() {
    let mut world = world();
    let dialog = world.call(APPLICATION);
    let now = world.now;
    world.peer(CALLER).hang_up(now, dialog, None);
    world.settle();
    let (id, _) = world.take_asked("/voice");
    world.respond(id, Err(Problem::new(code::HTTP_RETRIEVAL, "too late")));
    assert_eq!(world.told("CallStatus"), ["initiated", "ringing", "canceled"]);
    world.assert_nothing_left();
}

#[test]
fn hangup_and_an_empty_document_answer_and_end_the_call() {
    for body in ["", "<Hangup/>", "<Pause length=\"3\"/>"] {
        let mut world = world();
        world.call(APPLICATION);
        world.document("/voice", body);
        world.pass(Duration::from_secs(3));
        let heard = world.heard(CALLER);
        assert!(is_answered(&heard) && is_hung_up(&heard), "{body}: {heard:?}");
        world.told("CallStatus");
        world.assert_nothing_left();
    }
}

/// A call whose application dials somebody, who has answered; with the dialogs of both.
fn dialled(attributes: &str) -> (World, DialogId, DialogId) {
    let mut world = world();
    let caller = world.call(APPLICATION);
    let body = format!("<Dial {attributes}>+15550200</Dial><Play>/after.wav</Play>");
    world.document("/voice", &body);
    assert!(is_answered(&world.heard(CALLER)));
    assert!(matches!(world.agent(), Some(AgentSpec::Ringback)));
    let invite = incoming(world.heard(THIRD));
    assert_eq!(invite.request_uri.user, "+15550200");
    let now = world.now;
    world.peer(THIRD).answer(now, invite.dialog, SDP.into());
    world.settle();
    assert_eq!(*world.books.pair.lock().unwrap(), Some([EndpointId(0), EndpointId(1)]));
    (world, caller, invite.dialog)
}

#[test]
fn whom_it_dials_hangs_up_and_the_caller_goes_on() {
    let (mut world, _, third) = dialled("action=\"/dialled\"");
    world.pass(Duration::from_secs(12));
    let now = world.now;
    world.peer(THIRD).hang_up(now, third, None);
    world.settle();
    assert!(!is_hung_up(&world.heard(CALLER)));
    assert!(matches!(world.agent(), Some(AgentSpec::Quiet)));
    assert_eq!(world.leg(), EndpointId(0));
    let request = world.document("/dialled", "<Dial>+15550201</Dial>");
    assert_eq!(value(&request, "DialCallStatus").as_deref(), Some("completed"));
    assert_eq!(value(&request, "DialCallDuration").as_deref(), Some("12"));
    // And on: the next one is engaged.
    let invite = incoming(world.heard(THIRD));
    world.peer(THIRD).reject(now, invite.dialog, 486, &[]);
    world.settle();
    assert!(is_hung_up(&world.heard(CALLER)));
    world.told("CallStatus");
    world.assert_nothing_left();
}

#[test]
fn the_caller_hangs_up_on_whom_it_has_dialled() {
    let (mut world, caller, _) = dialled("");
    let now = world.now;
    world.peer(CALLER).hang_up(now, caller, None);
    world.settle();
    assert!(is_hung_up(&world.heard(THIRD)));
    world.told("CallStatus");
    world.assert_nothing_left();
}

#[test]
fn a_star_or_the_time_limit_ends_what_was_dialled_and_not_the_call() {
    for attributes in ["hangupOnStar=\"true\"", "timeLimit=\"5\""] {
        let (mut world, caller, _) = dialled(attributes);
        let (digit, duration) = ('*', Duration::from_millis(100));
        let endpoint = EndpointId(0);
        world.media(MediaEvent::Digit {
            endpoint,
            digit,
            duration,
        });
        world.pass(Duration::from_secs(5));
        assert!(is_hung_up(&world.heard(THIRD)), "{attributes}");
        assert!(!is_hung_up(&world.heard(CALLER)), "{attributes}");
        world.take_asked("/after.wav");
        let now = world.now;
        world.peer(CALLER).hang_up(now, caller, None);
        world.settle();
        world.told("CallStatus");
        world.assert_nothing_left();
    }
}

#[test]
fn what_may_not_be_dialled_is_a_problem_and_not_a_call() {
    for (body, code) in [
        ("<Dial><Sip>sip:a@elsewhere.example</Sip></Dial>", "13201"),
        ("<Dial callerId=\"+15551111\">+15550200</Dial>", "13214"),
    ] {
        let mut world = world();
        world.call(APPLICATION);
        world.document("/voice", body);
        let request = world.document("/fallback", "<Hangup/>");
        assert_eq!(value(&request, "ErrorCode").as_deref(), Some(code), "{body}");
        assert!(is_hung_up(&world.heard(CALLER)));
        assert!(world.heard(THIRD).is_empty());
        world.told("CallStatus");
        world.assert_nothing_left();
    }
}

#[test]
fn a_sip_address_of_a_trunk_is_dialled() {
    let mut world = world();
    world.call(APPLICATION);
    world.document("/voice", "<Dial><Sip>sip:sales@192.0.2.20</Sip></Dial>");
    let invite = incoming(world.heard(CALLEE));
    assert_eq!(invite.request_uri.user, "sales");
    let now = world.now;
    world.peer(CALLEE).reject(now, invite.dialog, 404, &[]);
    world.settle();
    world.told("CallStatus");
    world.assert_nothing_left();
}

#[test]
fn a_carrier_is_asked_to_call_somebody_and_refuses() {
    let mut world = world();
    world.call(APPLICATION);
    world.document(
        "/voice",
        "<Refer action=\"/referred\"><Sip>sip:+15550200@pbx.example</Sip></Refer>",
    );
    let heard = world.heard(CALLER);
    let referred = heard.iter().find_map(|event| match event {
        Event::Referred { dialog, .. } => Some(*dialog),
        _ => None,
    });
    let dialog = referred.expect("a REFER");
    let now = world.now;
    world.peer(CALLER).refuse_refer(now, dialog, 603, &[]);
    world.settle();
    let request = world.document("/referred", "<Hangup/>");
    assert_eq!(value(&request, "ReferCallStatus").as_deref(), Some("failed"));
    assert_eq!(value(&request, "ReferSipResponseCode").as_deref(), Some("603"));
    world.told("CallStatus");
    world.assert_nothing_left();
}

#[test]
fn a_callback_that_is_not_taken_does_not_hold_up_the_next() {
    let mut world = world();
    world.call(APPLICATION);
    world.document("/voice", "<Reject/>");
    let (id, request) = world.take_asked("/status");
    assert_eq!(value(&request, "SequenceNumber").as_deref(), Some("0"));
    // One at a time.
    assert!(world.web.is_empty());
    world.respond(id, Err(Problem::new(code::HTTP_RETRIEVAL, "no answer in 15 s")));
    assert_eq!(world.told("SequenceNumber"), ["1", "2"]);
    world.assert_nothing_left();
}

#[test]
fn a_placed_call_is_given_to_an_application_once_it_is_answered_and_updated() {
    let config = format!("{CONFIG}{NUMBERS}").replace(
        "proxy = \"192.0.2.20\"\n",
        "proxy = \"192.0.2.20\"\ncaller_ids = [\"+15550100\"]\n",
    );
    let mut world = World::with(&config, |_, _| Ok(address(GATEWAY)));
    let request = serde_json::json!({
        "to": "+15557777",
        "trunk": "carrier",
        "tenant": "acme",
        "voice_url": "http://app.example/voice",
        "status_callback": "http://app.example/status",
        "status_callback_event": ["initiated", "ringing", "answered", "completed"],
    });
    let nobody = serde_json::json!({"to": "+15557777", "trunk": "carrier"});
    let refused = world
        .core
        .place_call(serde_json::from_value(nobody).unwrap())
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "nobody is to talk; write agent, voice_url or twiml"
    );
    let placed = world.core.place_call(serde_json::from_value(request).unwrap()).unwrap();
    assert_eq!(placed.agent, "http://app.example/voice");
    world.core.timeout(world.now);
    world.settle();
    let invite = incoming(world.heard(CALLEE));
    let now = world.now;
    for _ in 0..2 {
        world.peer(CALLEE).ring(now, invite.dialog, 180, None);
        world.settle();
    }
    assert!(world.web.iter().all(|(_, request)| request.wants == Wants::Nothing));
    world.peer(CALLEE).answer(now, invite.dialog, SDP.into());
    world.settle();
    let request = world.document("/voice", "<Dial>+15550200</Dial>");
    for (key, expected) in [
        ("From", "+15550100"),
        ("To", "+15557777"),
        ("CallStatus", "in-progress"),
        ("Direction", "outbound-api"),
    ] {
        assert_eq!(value(&request, key).as_deref(), Some(expected), "{key}");
    }
    let dialled = incoming(world.heard(CALLEE));
    world.peer(CALLEE).answer(now, dialled.dialog, SDP.into());
    world.settle();
    assert_eq!(*world.books.pair.lock().unwrap(), Some([EndpointId(1), EndpointId(0)]));

    // Another document: whom it has dialled is left.
    let document = "<Response><Pause length=\"5\"/></Response>";
    world.give_another(&placed.call[..6], document).unwrap();
    world.settle();
    let left: Vec<Event> = world.heard(CALLEE);
    assert!(
        left.iter()
            .any(|event| matches!(event, Event::Bye { dialog, .. } if *dialog == dialled.dialog)),
        "{left:?}"
    );
    assert!(
        !left
            .iter()
            .any(|event| matches!(event, Event::Bye { dialog, .. } if *dialog == invite.dialog))
    );
    world.pass(Duration::from_secs(5));
    assert!(is_hung_up(&world.heard(CALLEE)));
    assert_eq!(
        world.told("CallStatus"),
        ["initiated", "ringing", "in-progress", "completed"]
    );
    world.assert_nothing_left();
}

#[test]
fn a_caller_who_is_answered_on_the_bridge_hears_the_ringing_and_goes_on_when_nobody_answers() {
    let mut world = world();
    world.call(APPLICATION);
    let dial = "<Dial answerOnBridge=\"true\" timeout=\"10\" action=\"/dialled\">+15550200</Dial>";
    world.document("/voice", dial);
    assert!(!is_answered(&world.heard(CALLER)));
    let invite = incoming(world.heard(THIRD));
    let now = world.now;
    // With early media.
    world.peer(THIRD).ring(now, invite.dialog, 183, Some(SDP.into()));
    world.settle();
    let early = world
        .heard(CALLER)
        .into_iter()
        .any(|event| matches!(event, Event::Progress { sdp: Some(_), .. }));
    assert!(early);
    world.pass(Duration::from_secs(10));
    assert!(world.heard(THIRD).contains(&Event::Cancelled { dialog: invite.dialog }));
    let request = world.document("/dialled", dial);
    assert_eq!(value(&request, "DialCallStatus").as_deref(), Some("no-answer"));
    assert_eq!(value(&request, "CallStatus").as_deref(), Some("ringing"));
    // The second answers.
    let invite = incoming(world.heard(THIRD));
    let now = world.now;
    world.peer(THIRD).answer(now, invite.dialog, SDP.into());
    world.settle();
    assert!(is_answered(&world.heard(CALLER)));
    world.pass(Duration::from_secs(3));
    let now = world.now;
    world.peer(THIRD).hang_up(now, invite.dialog, None);
    world.settle();
    let request = world.document("/dialled", "<Hangup/>");
    assert_eq!(value(&request, "DialCallDuration").as_deref(), Some("3"));
    assert!(is_hung_up(&world.heard(CALLER)));
    world.told("CallStatus");
    world.assert_nothing_left();
}

#[test]
fn whom_a_caller_would_be_answered_for_is_engaged_and_the_next_verb_answers() {
    let mut world = world();
    world.call(APPLICATION);
    world.document(
        "/voice",
        "<Dial answerOnBridge=\"true\">+15550200</Dial><Play>/a.wav</Play>",
    );
    let invite = incoming(world.heard(THIRD));
    let now = world.now;
    world.peer(THIRD).reject(now, invite.dialog, 486, &[]);
    world.settle();
    assert!(failed(&world.heard(CALLER)).is_none());
    let (id, _) = world.take_asked("/a.wav");
    world.respond(id, Ok(Answer::Audio(Shared::from([1u8]))));
    world.media(MediaEvent::AgentReady(EndpointId(0)));
    assert!(is_answered(&world.heard(CALLER)));
    world.media(MediaEvent::AgentEnded(EndpointId(0)));
    assert!(is_hung_up(&world.heard(CALLER)));
    world.told("CallStatus");
    world.assert_nothing_left();
}

/// What is told of streams, in order: events, names and errors.
fn told_of_streams(world: &mut World) -> Vec<String> {
    let mut told = Vec::new();
    loop {
        let request = world
            .web
            .iter()
            .position(|(_, request)| request.wants == Wants::Nothing);
        let Some(at) = request else { return told };
        let (id, request) = world.web.remove(at);
        if request.link.url.path() == "/stream" {
            assert!(value(&request, "StreamSid").unwrap().starts_with("MZ"));
            let said = ["StreamEvent", "StreamName", "StreamError"].map(|key| value(&request, key));
            told.push(said.into_iter().flatten().collect::<Vec<_>>().join(" "));
        }
        world.respond(id, Ok(Answer::Nothing));
    }
}

fn start(name: &str, more: &str) -> String {
    format!("<Start><Stream url=\"ws://192.0.2.40/{name}\" name=\"{name}\" statusCallback=\"/stream\" {more}/></Start>")
}

impl World {
    /// The tap by which a stream of this name listens, and what it was begun with.
    fn listening(
        &self,
        name: &str,
    ) -> (
        voxlane_dataplane::media_plane::TapId,
        voxlane_dataplane::media_plane::TapSpec,
    ) {
        let taps = self.books.taps.lock().unwrap();
        let named = taps.iter().find(|(_, (_, spec))| spec.web.url.ends_with(name));
        let (tap, (endpoint, spec)) = named.unwrap_or_else(|| panic!("nobody listens by {name}"));
        assert_eq!(*endpoint, EndpointId(0));
        (*tap, spec.clone())
    }

    fn listeners(&self) -> usize {
        self.books.taps.lock().unwrap().len()
    }
}

#[test]
fn streams_go_on_while_the_next_verbs_are_done_and_end_when_they_are_stopped_or_the_call_ends() {
    let mut world = world();
    let caller = world.call(APPLICATION);
    let body = [
        &start("both", "track=\"both_tracks\"") as &str,
        &start("one", ""),
        "<Dial>+15550200</Dial><Stop><Stream name=\"both\"/></Stop><Stop><Stream name=\"never\"/></Stop>",
        "<Play>/after.wav</Play>",
    ];
    world.document("/voice", &body.concat());
    let (tap, spec) = world.listening("both");
    assert_eq!(spec.tracks, [TrackName::Inbound, TrackName::Outbound]);
    assert!(spec.web.headers.iter().any(|(name, _)| name == "X-Twilio-Signature"));
    assert_eq!(world.listening("one").1.tracks, [TrackName::Inbound]);
    world.media(MediaEvent::Tap(EndpointId(0), tap, TapEvent::Started));
    assert_eq!(told_of_streams(&mut world), ["stream-started both"]);
    // The Dial goes on meanwhile.
    let invite = incoming(world.heard(THIRD));
    let now = world.now;
    world.peer(THIRD).answer(now, invite.dialog, SDP.into());
    world.settle();
    assert_eq!(world.listeners(), 2);
    world.peer(THIRD).hang_up(now, invite.dialog, None);
    world.settle();
    assert_eq!(told_of_streams(&mut world), ["stream-stopped both"]);
    assert_eq!(world.listeners(), 1);
    // A name that there is not is a warning, and the next verb goes on.
    let problems = world.core.calls_report().active[0].problems.join("\n");
    assert!(problems.contains("no stream of the name \"never\""), "{problems}");
    world.take_asked("/after.wav");
    world.peer(CALLER).hang_up(now, caller, None);
    world.settle();
    assert_eq!(told_of_streams(&mut world), ["stream-stopped one"]);
    assert_eq!(world.listeners(), 0);
    world.assert_nothing_left();
}

#[test]
fn a_stream_that_cannot_be_is_told_of_and_the_call_goes_on() {
    let mut world = world();
    world.call(APPLICATION);
    let body = [
        &start("a", "track=\"both_tracks\"") as &str,
        &start("a", ""),
        &start("b", "track=\"both_tracks\""),
        &start("c", ""),
        "<Start><Stream url=\"ws://nowhere.example/\" statusCallback=\"/stream\"/></Start><Pause length=\"9\"/>",
    ];
    world.document("/voice", &body.concat());
    let failure = AgentFailure::Refused("403".into());
    let (tap, _) = world.listening("b");
    world.media(MediaEvent::Tap(EndpointId(0), tap, TapEvent::Failed(failure)));
    let told = told_of_streams(&mut world);
    let expected = [
        "stream-error a stream \"a\" is started already",
        "stream-error c more than 4 tracks",
        "stream-error more than 4 tracks",
        "stream-error b refused the WebSocket handshake: 403",
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}");
    }
    let (tap, _) = world.listening("a");
    world.media(MediaEvent::Tap(EndpointId(0), tap, TapEvent::Closed));
    assert_eq!(told_of_streams(&mut world), ["stream-stopped a"]);
    assert_eq!(world.listeners(), 0);
    world.pass(Duration::from_secs(9));
    assert!(is_hung_up(&world.heard(CALLER)));
    world.told("CallStatus");
    world.assert_nothing_left();
}

#[test]
fn a_listener_whose_host_is_not_there_is_a_problem_of_the_stream_alone() {
    let mut world = world();
    world.call(APPLICATION);
    world.document(
        "/voice",
        "<Start><Stream url=\"ws://nowhere.example/\" statusCallback=\"/stream\"/></Start><Pause length=\"9\"/>",
    );
    assert_eq!(told_of_streams(&mut world), ["stream-error no"]);
    assert_eq!(world.listeners(), 0);
    world.pass(Duration::from_secs(9));
    assert!(is_answered(&world.heard(CALLER)));
    world.told("CallStatus");
    world.assert_nothing_left();
}

#[test]
fn an_operator_listens_to_any_call_and_ends_every_stream_of_it() {
    let mut world = world();
    world.call(APPLICATION);
    world.document("/voice", &format!("{}<Pause length=\"9\"/>", start("a", "")));
    let call = world.core.calls_report().active[0].id.clone();
    let order = voxlane::ops::report::TapOrder {
        url: "ws://192.0.2.41/operator".into(),
        tracks: voxlane::ops::report::TapTracks::Both,
        parameters: BTreeMap::new(),
        ca: None,
    };
    let report = world
        .core
        .tap(&call, &order, vec![address("192.0.2.41:80")], None)
        .unwrap();
    let (_, spec) = world.listening("operator");
    assert_eq!(report.stream, Some(spec.web.stream_sid));
    assert_eq!(world.core.end_taps(&call).unwrap().ended, 2);
    world.settle();
    assert_eq!(told_of_streams(&mut world), ["stream-stopped a"]);
    assert_eq!(world.listeners(), 0);
    world.pass(Duration::from_secs(9));
    world.told("CallStatus");
    world.assert_nothing_left();
}

#[test]
fn a_stream_at_a_host_that_may_not_be_named_is_a_problem_and_nobody_is_asked_for_its_address() {
    let tenant = "allowed_hosts = [\"app.example\", \"*.bots.example\"]\nauth_token = \"12345\"\n";
    let config = format!("{CONFIG}{NUMBERS}").replace("auth_token = \"12345\"\n", tenant);
    let mut world = World::with(&config, |_, _| Ok(address(GATEWAY)));
    world.call(APPLICATION);
    let (id, request) = world.take_asked("/voice");
    assert!(request.hosts.has("app.example") && !request.hosts.has("192.0.2.40"));
    let page = Page {
        url: request.link.url.clone(),
        content_type: None,
        text: "<Response><Connect><Stream url=\"ws://192.0.2.40/media\"/></Connect></Response>".into(),
    };
    world.core.responded(world.now, id, Ok(Answer::Document(page)));
    let effects = world.core.take_effects();
    assert!(effects.lookups.is_empty(), "{effects:?}");
    assert!(world.agent().is_none());
    let ended = &world.core.calls_report();
    let calls = ended.active.iter().chain(&ended.recent);
    let problems: Vec<&String> = calls.flat_map(|call| &call.problems).collect();
    let [problem] = problems[..] else {
        panic!("{problems:?}");
    };
    assert!(
        problem.contains("192.0.2.40 is not among the allowed_hosts"),
        "{problem}"
    );
}

#[test]
fn a_listener_is_bound_by_the_hosts_and_the_settings_of_the_account_like_any_stream() {
    let agent = "[[agent]]\nname = \"patient\"\nurl = \"ws://192.0.2.41/\"\nconnect_timeout = \"9s\"\n\
         silence_timeout = \"30s\"\n";
    let tenant =
        "stream_settings = \"patient\"\nallowed_hosts = [\"app.example\", \"192.0.2.40\"]\nauth_token = \"12345\"\n";
    let config = format!("{CONFIG}{NUMBERS}{agent}").replace("auth_token = \"12345\"\n", tenant);
    let mut world = World::with(&config, |_, _| Ok(address(GATEWAY)));
    world.call(APPLICATION);
    let elsewhere = "<Start><Stream url=\"ws://192.0.2.50/b\" name=\"b\" statusCallback=\"/stream\"/></Start>";
    world.document("/voice", &format!("{}{elsewhere}<Pause length=\"9\"/>", start("a", "")));
    let told = told_of_streams(&mut world);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("stream-error b 192.0.2.50 is not among the allowed_hosts"),
        "{told:?}"
    );
    let (_, spec) = world.listening("a");
    assert_eq!(
        (spec.web.connect_timeout, spec.web.silence_timeout),
        (Duration::from_secs(9), Duration::from_secs(30))
    );
    assert_eq!(world.listeners(), 1);
}

#[test]
fn a_stream_is_connected_with_the_settings_of_the_agent_that_the_tenant_names() {
    let agent = "[[agent]]\nname = \"patient\"\nurl = \"ws://192.0.2.41/\"\nconnect_timeout = \"9s\"\n\
        silence_timeout = \"30s\"\nmax_message = 5000\nheaders = { Authorization = \"secret\" }\n";
    let tenant = "stream_settings = \"patient\"\nauth_token = \"12345\"\n";
    let config = format!("{CONFIG}{NUMBERS}{agent}").replace("auth_token = \"12345\"\n", tenant);
    let mut world = World::with(&config, |_, _| Ok(address(GATEWAY)));
    let caller = world.call(APPLICATION);
    world.document("/voice", "<Connect><Stream url=\"ws://192.0.2.40/media\"/></Connect>");
    let Some(AgentSpec::Web(spec)) = world.agent() else {
        panic!("no agent");
    };
    assert_eq!(spec.url, "ws://192.0.2.40/media");
    assert_eq!(
        (spec.connect_timeout, spec.silence_timeout, spec.limits.message),
        (Duration::from_secs(9), Duration::from_secs(30), 5000)
    );
    // What the agent itself is told is nobody else's.
    assert!(
        spec.headers.iter().all(|(name, _)| name != "Authorization"),
        "{:?}",
        spec.headers
    );
    let now = world.now;
    world.peer(CALLER).hang_up(now, caller, None);
    world.settle();
    world.told("CallStatus");
    world.assert_nothing_left();
}
