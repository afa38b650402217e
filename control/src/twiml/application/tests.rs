use super::*;
use crate::twiml::verbs::Play;
use crate::twiml::{Method, web_url};

fn link(path: &str) -> Link {
    Link {
        url: web_url("https://app.example").unwrap().join(path).unwrap(),
        method: Method::Post,
    }
}

fn script(fallback: Option<&str>) -> Script {
    Script {
        source: Source::Link(link("/voice")),
        fallback: fallback.map(link),
    }
}

/// An application and the time.
struct World {
    application: Application,
    now: Time,
}

impl World {
    fn new(fallback: Option<&str>) -> (Self, Vec<Output>) {
        let mut application = Application::new(script(fallback));
        let outputs = application.start(Time::ZERO);
        let now = Time::ZERO;
        (Self { application, now }, outputs)
    }

    /// The document that was asked for is this.
    fn answer(&mut self, body: &str) -> Vec<Output> {
        let text = format!("<Response>{body}</Response>");
        self.page(Some("text/xml; charset=utf-8"), &text)
    }

    fn page(&mut self, content_type: Option<&str>, text: &str) -> Vec<Output> {
        let page = Page {
            url: link("/voice").url,
            content_type: content_type.map(str::to_owned),
            text: text.to_owned(),
        };
        let request = self.application.requests;
        self.application.fetched(request, Ok(page), self.now)
    }

    fn fail(&mut self) -> Vec<Output> {
        let request = self.application.requests;
        self.application.fetched(request, Err(failed()), self.now)
    }

    /// The verb takes so long.
    fn over(&mut self, after: Duration) -> Vec<Output> {
        self.now = self.now + after;
        self.application.done(Outcome::Over(Vec::new()), self.now)
    }
}

fn failed() -> Problem {
    Problem::new(code::HTTP_RETRIEVAL, "answered with 500")
}

/// What is asked for, and what is said with it.
fn asked(outputs: &[Output]) -> Vec<(String, Vec<(&str, &str)>)> {
    let asked = outputs.iter().filter_map(|output| match output {
        Output::Fetch(fetch) => {
            let said = fetch
                .parameters
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()));
            Some((fetch.link.url.path().to_owned(), said.collect()))
        }
        _ => None,
    });
    asked.collect()
}

const SECOND: Duration = Duration::from_secs(1);

fn pause(seconds: u32) -> Output {
    Output::Do(Verb::Pause(seconds * SECOND))
}

#[test]
fn verbs_are_done_in_order_and_the_call_ends_with_the_document() {
    let (mut world, outputs) = World::new(None);
    assert_eq!(asked(&outputs), [("/voice".to_owned(), vec![])]);
    let outputs = world.answer("<Play>/a.wav</Play><Pause length=\"2\"/>");
    let play = Play {
        url: link("/a.wav").url,
        times: Some(1),
    };
    assert_eq!(outputs, [Output::Do(Verb::Play(play))]);
    assert_eq!(world.over(SECOND), [pause(2)]);
    assert_eq!(world.over(2 * SECOND), [Output::HangUp]);
    assert_eq!(world.over(SECOND), []);
}

#[test]
fn an_empty_document_and_hangup_end_the_call_and_reject_refuses_it() {
    for (body, expected) in [
        ("", Output::HangUp),
        ("<Hangup/><Pause/>", Output::HangUp),
        ("<Reject reason=\"busy\"/>", Output::Reject(Rejection::Busy)),
    ] {
        let (mut world, _) = World::new(None);
        assert_eq!(world.answer(body), [expected]);
    }
}

#[test]
fn an_action_is_told_what_came_of_its_verb_and_takes_the_place_of_what_is_left() {
    let (mut world, _) = World::new(None);
    world.answer("<Dial action=\"/done\">+1555</Dial><Play>/never.wav</Play>");
    let told = vec![("DialCallStatus".to_owned(), "busy".to_owned())];
    let outputs = world.application.done(Outcome::Over(told), Time::ZERO);
    assert_eq!(
        asked(&outputs),
        [("/done".to_owned(), vec![("DialCallStatus", "busy")])]
    );
    assert_eq!(world.answer(""), [Output::HangUp]);
}

#[test]
fn a_stream_that_fails_is_reported_and_the_next_verb_goes_on() {
    let (mut world, _) = World::new(Some("/fallback"));
    world.answer("<Connect><Stream url=\"wss://a/\"/></Connect><Pause/>");
    let problem = Problem::new(code::STREAM, "refused");
    let outputs = world
        .application
        .done(Outcome::Failed(problem.clone(), Vec::new()), Time::ZERO);
    assert_eq!(outputs, [Output::Report(problem), pause(1)]);
}

#[test]
fn the_fallback_is_told_what_was_wrong_and_asked_once() {
    for wrong in ["<Say>Hello</Say>", "<Pause/><Unknown/>"] {
        let (mut world, _) = World::new(Some("/fallback"));
        let outputs = world.answer(wrong);
        assert!(
            matches!(&outputs[0], Output::Report(problem) if problem.code == code::SCHEMA),
            "{outputs:?}"
        );
        let said = vec![("ErrorCode", "12200"), ("ErrorUrl", "https://app.example/voice")];
        assert_eq!(asked(&outputs), [("/fallback".to_owned(), said)]);
        // It is as wrong.
        assert!(matches!(&world.answer(wrong)[..], [Output::GiveUp(_)]));
    }
    let (mut world, _) = World::new(Some("/fallback"));
    assert_eq!(asked(&world.fail())[0].1[0], ("ErrorCode", "11200"));
    assert_eq!(world.answer("<Pause/>"), [pause(1)]);
    let impossible = Outcome::Impossible(failed());
    assert_eq!(
        world.application.done(impossible, Time::ZERO),
        [Output::GiveUp(failed())]
    );
}

#[test]
fn without_a_fallback_it_gives_up() {
    let (mut world, _) = World::new(None);
    assert_eq!(world.fail(), [Output::GiveUp(failed())]);
    assert_eq!(world.answer("<Pause/>"), []);
}

#[test]
fn only_xml_is_read() {
    for (content_type, expected) in [
        (Some("application/xml"), None),
        (Some("TEXT/HTML; charset=utf-8"), None),
        (None, None),
        (Some("text/plain"), Some(code::CONTENT_TYPE)),
        (Some("audio/mpeg"), Some(code::CONTENT_TYPE)),
    ] {
        let (mut world, _) = World::new(None);
        let said = match &world.page(content_type, "<Response/>")[..] {
            [Output::HangUp] => None,
            [Output::GiveUp(problem)] => Some(problem.code),
            other => panic!("{other:?}"),
        };
        assert_eq!(said, expected, "{content_type:?}");
    }
}

#[test]
fn documents_that_do_nothing_come_to_an_end_and_those_that_take_time_do_not() {
    let (mut world, _) = World::new(Some("/fallback"));
    let mut documents = 1;
    let last = loop {
        let outputs = world.answer("<Pause length=\"0\"/><Redirect>/voice</Redirect>");
        assert_eq!(outputs, [pause(0)]);
        match world.over(Duration::ZERO).pop() {
            Some(Output::Fetch(_)) => documents += 1,
            other => break other,
        }
    };
    assert_eq!(documents, MOST_HASTY);
    assert!(matches!(last, Some(Output::GiveUp(problem)) if problem.code == code::TOO_MANY_REDIRECTS));

    let (mut world, _) = World::new(None);
    for _ in 0..1000 {
        world.answer("<Pause/><Redirect>/voice</Redirect>");
        assert!(matches!(&world.over(SECOND)[..], [Output::Fetch(_)]));
    }
}

#[test]
fn another_document_takes_the_place_of_this_and_what_comes_late_is_passed_over() {
    let (mut world, _) = World::new(None);
    let stale = world.application.requests;
    let source = Source::Text("<Response><Pause length=\"5\"/></Response>".to_owned());
    assert_eq!(world.application.update(source, Time::ZERO), [pause(5)]);
    assert_eq!(world.application.fetched(stale, Err(failed()), Time::ZERO), []);
    let outputs = world.application.update(Source::Link(link("/other")), Time::ZERO);
    assert_eq!(asked(&outputs), [("/other".to_owned(), vec![])]);
    assert_eq!(world.application.fetched(stale, Err(failed()), Time::ZERO), []);
    assert_eq!(world.answer("<Hangup/>"), [Output::HangUp]);
}

#[test]
fn its_name_has_no_secrets() {
    let named = |url: &str| {
        let url = web_url(url).unwrap();
        let method = Method::Post;
        let source = Source::Link(Link { url, method });
        Script { source, fallback: None }.name()
    };
    assert_eq!(
        named("https://me:secret@app.example:8443/voice?key=1"),
        "https://app.example:8443/voice"
    );
}

#[test]
fn streams_are_started_and_stopped_on_the_way_to_the_next_verb() {
    let (mut world, _) = World::new(None);
    let outputs = world.answer(
        "<Start><Stream url=\"wss://a.example/\" name=\"a\" track=\"both_tracks\"/></Start>\
         <Start><Stream url=\"wss://b.example/\"/></Start><Pause/><Stop><Stream name=\"a\"/></Stop>",
    );
    let started: Vec<(Option<&str>, usize)> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Start(start) => Some((start.stream.name.as_deref(), start.tracks.len())),
            _ => None,
        })
        .collect();
    assert_eq!(started, [(Some("a"), 2), (None, 1)]);
    assert_eq!(outputs[2..], [pause(1)]);
    assert_eq!(world.over(SECOND), [Output::Stop("a".into()), Output::HangUp]);
}

#[test]
fn documents_that_only_start_streams_do_not_follow_one_another_for_ever() {
    let (mut world, _) = World::new(None);
    let body = "<Start><Stream url=\"wss://a.example/\"/></Start><Redirect>/voice</Redirect>";
    let mut documents = 0;
    while asked(&world.answer(body)).len() == 1 {
        documents += 1;
    }
    assert_eq!(documents, MOST_HASTY - 1);
}
