use super::*;
use crate::twiml::web_url;

fn parse(body: &str) -> Result<Document, Problem> {
    let base = web_url("https://app.example/voice/start?x=1").unwrap();
    Document::parse(body, Some(&base))
}

fn verbs(body: &str) -> Vec<Verb> {
    let document = parse(&format!("<Response>{body}</Response>")).unwrap();
    assert_eq!(document.warnings, [], "{body}");
    document.instructions.into_iter().map(|one| one.verb).collect()
}

fn problem(body: &str) -> String {
    parse(&format!("<Response>\n{body}</Response>"))
        .unwrap_err()
        .to_string()
}

fn link(url: &str, method: Method) -> Link {
    Link {
        url: web_url(url).unwrap(),
        method,
    }
}

/// What the official SDK's `VoiceResponse` writes of each verb; `twilio_documents.txt` is made by `tests/agents/twiml_documents.py`.
#[test]
fn documents_of_the_official_builder_are_read() {
    let documents = include_str!("twilio_documents.txt");
    let mut read = 0;
    for line in documents.lines().filter(|line| !line.is_empty()) {
        let (expected, text) = line.split_once('\t').unwrap();
        let document = parse(text);
        let names: Vec<&str> = match &document {
            Ok(document) => document.instructions.iter().map(|one| one.verb.name()).collect(),
            Err(_) => vec!["refused"],
        };
        assert_eq!(names.join(" "), expected, "{text}: {document:?}");
        read += 1;
    }
    assert!(read >= 20, "{read}");
}

#[test]
fn a_stream_with_its_parameters() {
    let [Verb::Connect(connect)] = &verbs(
        r#"<Connect action="/after" method="GET"><Stream url="wss://bot.example:8443/media" name="bot"
            statusCallback="events" statusCallbackMethod="GET"><Parameter name="a" value="1 &amp; 2"/>
            <Parameter name="b" value=""/></Stream></Connect>"#,
    )[..] else {
        panic!("no Connect");
    };
    let stream = Stream {
        url: "wss://bot.example:8443/media".into(),
        host: "bot.example".into(),
        port: 8443,
        name: Some("bot".into()),
        parameters: vec![("a".into(), "1 & 2".into()), ("b".into(), String::new())],
        status_callback: Some(link("https://app.example/voice/events", Method::Get)),
    };
    assert_eq!(connect.stream, stream);
    assert_eq!(connect.action, Some(link("https://app.example/after", Method::Get)));
    let [Verb::Connect(connect)] = &verbs(r#"<Connect><Stream url="ws://[2001:db8::1]/"/></Connect>"#)[..] else {
        panic!("no Connect");
    };
    assert_eq!((connect.stream.host.as_str(), connect.stream.port), ("2001:db8::1", 80));
}

#[test]
fn what_may_be_dialled() {
    let dialled = |body: &str| match verbs(body).remove(0) {
        Verb::Dial(dial) => *dial,
        other => panic!("{other:?}"),
    };
    let plain = dialled("<Dial> +1 (415) 555-0100 </Dial>");
    assert_eq!(plain.to, Party::Number("+14155550100".into()));
    assert_eq!((plain.timeout.as_secs(), plain.time_limit.as_secs()), (30, 14_400));
    assert_eq!((plain.answer, plain.on_star), (Answer::AtOnce, OnStar::Nothing));
    let full = dialled(
        r#"<Dial callerId="+15550100" timeout="5" timeLimit="60" answerOnBridge="true" hangupOnStar="true"
            action="../done"><Number>+15550123</Number></Dial>"#,
    );
    assert_eq!(full.caller_id.as_deref(), Some("+15550100"));
    assert_eq!((full.timeout.as_secs(), full.time_limit.as_secs()), (5, 60));
    assert_eq!((full.answer, full.on_star), (Answer::OnBridge, OnStar::HangUp));
    assert_eq!(full.action, Some(link("https://app.example/done", Method::Post)));
    let sip = dialled("<Dial><Sip>sip:alice@pbx.example:5070;transport=tcp</Sip></Dial>");
    assert_eq!(sip.to.to_string(), "sip:alice@pbx.example:5070");
}

#[test]
fn the_others() {
    let play = |times| {
        let url = web_url("https://app.example/a.wav").unwrap();
        Verb::Play(Play { url, times })
    };
    let seconds = |seconds| Verb::Pause(Duration::from_secs(seconds));
    let refer = Refer {
        to: SipUri {
            user: "+15550200".into(),
            host: "pbx.example".into(),
            port: None,
        },
        action: None,
    };
    for (body, expected) in [
        ("<Play>/a.wav</Play>", play(Some(1))),
        ("<Play loop=\"3\"> https://app.example/a.wav\n</Play>", play(Some(3))),
        ("<Play loop=\"0\">/a.wav</Play>", play(None)),
        ("<Pause/>", seconds(1)),
        ("<Pause length=\"10\"></Pause>", seconds(10)),
        (
            "<Redirect>?y=2</Redirect>",
            Verb::Redirect(link("https://app.example/voice/start?y=2", Method::Post)),
        ),
        (
            "<Redirect method=\"get\">http://b.example</Redirect>",
            Verb::Redirect(link("http://b.example/", Method::Get)),
        ),
        (
            "<Redirect><![CDATA[/a?b=c&d=e]]></Redirect>",
            Verb::Redirect(link("https://app.example/a?b=c&d=e", Method::Post)),
        ),
        ("<Reject/>", Verb::Reject(Rejection::Rejected)),
        ("<Reject reason=\"busy\"/>", Verb::Reject(Rejection::Busy)),
        ("<Hangup/>", Verb::HangUp),
        (
            "<Refer><Sip>sip:+15550200@pbx.example</Sip></Refer>",
            Verb::Refer(Box::new(refer)),
        ),
    ] {
        assert_eq!(verbs(body), [expected], "{body}");
    }
}

#[test]
fn what_is_wrong_names_its_line() {
    for (body, expected) in [
        (
            "<Say>Hello</Say>",
            "line 2: <Say>: there is no verb <Say>; there is Connect, ",
        ),
        ("<Pause/>\n<Gather/>", "line 3: <Gather>: there is no verb <Gather>; "),
        ("<Connect/>", "line 2: <Connect>: in it stands one <Stream> (12200)"),
        (
            "<Connect><Room>x</Room></Connect>",
            "line 2: <Room>: in <Connect> stands <Stream> (12200)",
        ),
        (
            "<Connect><Stream/></Connect>",
            "line 2: <Stream>: has no url=\"…\" (12200)",
        ),
        (
            "<Connect><Stream url=\"https://a/\"/></Connect>",
            "line 2: <Stream>: \"https://a/\" is not a WebSocket URL: it begins with neither ws:// nor wss:// (31921)",
        ),
        (
            "<Connect><Stream url=\"wss://a/\" track=\"both_tracks\"/></Connect>",
            "line 2: <Stream>: track \"both_tracks\": ",
        ),
        ("<Dial/>", "line 2: <Dial>: is empty (12200)"),
        ("<Dial>anna</Dial>", "line 2: <Dial>: \"anna\" is not a number; "),
        (
            "<Dial timeout=\"0\">+1555</Dial>",
            "line 2: <Dial>: timeout \"0\" is not a number from 1 to 600 (12200)",
        ),
        (
            "<Dial callerId=\"client:x\">+1555</Dial>",
            "line 2: <Dial>: callerId \"client:x\" is not a number; ",
        ),
        (
            "<Dial><Number>+1555</Number>\n<Sip>sip:a@b</Sip></Dial>",
            "line 3: <Sip>: <Dial> calls one party; ",
        ),
        (
            "<Dial><Client>a</Client></Dial>",
            "line 2: <Client>: <Client> cannot be dialled; ",
        ),
        (
            "<Dial><Sip>sip:b.example</Sip></Dial>",
            "line 2: <Sip>: \"sip:b.example\" names no user; ",
        ),
        (
            "<Dial><Sip>sip:a@b?X-A=1</Sip></Dial>",
            "line 2: <Sip>: \"sip:a@b?X-A=1\" has headers, which are not sent; ",
        ),
        (
            "<Dial answerOnBridge=\"yes\">+1555</Dial>",
            "line 2: <Dial>: answerOnBridge \"yes\" is neither true nor false",
        ),
        ("<Play digits=\"1\"/>", "line 2: <Play>: digits are not played; "),
        (
            "<Play>ftp://a/b.wav</Play>",
            "line 2: <Play>: ftp://a/b.wav is neither http:// nor https:// (12200)",
        ),
        (
            "<Pause length=\"x\"/>",
            "line 2: <Pause>: length \"x\" is not a number from 0 to 86400 (12200)",
        ),
        ("<Redirect/>", "line 2: <Redirect>: is empty (12200)"),
        (
            "<Redirect method=\"PUT\">/a</Redirect>",
            "line 2: <Redirect>: method \"PUT\" is neither GET nor POST (12200)",
        ),
        (
            "<Reject reason=\"no\"/>",
            "line 2: <Reject>: reason \"no\" is neither rejected nor busy (12200)",
        ),
        (
            "<Hangup><Pause/></Hangup>",
            "line 2: <Hangup>: nothing is meant to stand in it (12200)",
        ),
    ] {
        let said = problem(body);
        assert!(said.starts_with(expected), "{body}: {said}");
    }
}

#[test]
fn what_is_no_document() {
    for (text, code) in [
        ("", code::NOT_XML),
        ("Hello", code::NOT_XML),
        ("<Response>", code::NOT_XML),
        (
            "<!DOCTYPE r [<!ENTITY a \"b\">]><Response>&a;</Response>",
            code::NOT_XML,
        ),
        ("<html><body/></html>", code::WRONG_ROOT),
        (
            &format!("<Response>{}</Response>", "<Pause/>".repeat(9000)),
            code::NOT_XML,
        ),
        (&format!("<Response>{}", "<a>".repeat(3000)), code::NOT_XML),
        (
            &format!("<Response>{}{}</Response>", "<a>".repeat(2000), "</a>".repeat(2000)),
            code::SCHEMA,
        ),
    ] {
        let problem = parse(text).unwrap_err();
        assert_eq!(problem.code, code, "{:.40}: {problem}", text);
    }
}

#[test]
fn what_has_no_effect_is_told_and_passed_over() {
    let document =
        parse("\n<?xml version=\"1.0\"?><Response>hi<!-- x --><Dial record=\"true\">+1555</Dial></Response>").unwrap();
    assert_eq!(document.instructions.len(), 1);
    let warnings: Vec<String> = document.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "text \"hi\" stands between verbs; it is passed over (12200)",
            "line 1: <Dial>: record has no effect; it is passed over (12200)"
        ]
    );
    assert_eq!(parse("<Response/>").unwrap(), Document::default());
}

#[test]
fn relative_urls_need_somewhere_that_the_document_came_from() {
    let text = "<Response><Redirect>/a</Redirect></Response>";
    assert!(Document::parse(text, None).is_err());
    assert!(Document::parse("<Response><Redirect>http://a/</Redirect></Response>", None).is_ok());
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "(<|>|/|=|\"|Response|Dial|Connect|Stream|Sip|url|wss://a| |\\PC){0,40}", within in proptest::prelude::any::<bool>()) {
        let text = if within { format!("<Response>{text}</Response>") } else { text };
        let _ = parse(&text);
    }
}

#[test]
fn streams_that_are_started_and_stopped() {
    let tracks = |attribute: &str| match verbs(&format!("<Start><Stream url=\"ws://a.example/\"{attribute}/></Start>"))
        .remove(0)
    {
        Verb::Start(start) => start.tracks,
        other => panic!("{other:?}"),
    };
    let (inbound, outbound) = (TrackName::Inbound, TrackName::Outbound);
    assert_eq!(tracks(""), [inbound]);
    assert_eq!(tracks(" track=\"inbound_track\""), [inbound]);
    assert_eq!(tracks(" track=\"outbound_track\""), [outbound]);
    assert_eq!(tracks(" track=\"both_tracks\""), [inbound, outbound]);
    assert_eq!(verbs("<Stop><Stream name=\"a b\"/></Stop>"), [Verb::Stop("a b".into())]);
    for (body, expected) in [
        ("<Start/>", "in it stands one <Stream>"),
        ("<Start><Siprec/></Start>", "in <Start> stands <Stream>"),
        ("<Start><Stream/></Start>", "has no url="),
        (
            "<Start><Stream url=\"ws://a.example/\" track=\"all\"/></Start>",
            "track \"all\" is none of inbound_track, outbound_track and both_tracks",
        ),
        ("<Stop><Stream/></Stop>", "has no name="),
    ] {
        let problem = problem(body);
        assert!(problem.contains(expected), "{body}: {problem}");
    }
}
