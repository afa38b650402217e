//! What Telnyx's documentation shows, message for message.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;

use super::*;
use crate::agent::web::testing::{Conversation, spec};
use crate::playout::DEFAULT_LIMIT;

const STREAM: &str = "01234567-89ab-cdef-0123-456789abcdef";

fn conversation(encoding: Encoding) -> Conversation<Telnyx> {
    Conversation::start(Telnyx::new(&spec(), encoding), DEFAULT_LIMIT)
}

#[test]
fn messages_are_those_that_telnyx_documents() {
    let mut call = conversation(Encoding::Pcmu);
    assert_eq!(call.hears_json(), json!({"event": "connected", "version": "1.0.0"}));
    assert_eq!(
        call.hears_json(),
        json!({
            "event": "start", "sequence_number": "1", "stream_id": STREAM,
            "start": {
                "user_id": "AC1", "call_control_id": "CA1", "call_session_id": "CA1",
                "from": "+15550100", "to": "+15550200", "tags": [], "custom_parameters": {"lang": "e\"n"},
                "media_format": {"encoding": "PCMU", "sample_rate": 8000, "channels": 1},
            },
        })
    );
    call.caller_says(&[0xff, 0x7f]);
    call.caller_says(&[0; 160]);
    assert_eq!(
        call.hears_json(),
        json!({
            "event": "media", "sequence_number": "2", "stream_id": STREAM,
            "media": {"track": "inbound", "chunk": "1", "timestamp": "0", "payload": "/38="},
        })
    );
    assert_eq!(call.hears_json()["media"]["chunk"], "2");
    call.stop();
    assert_eq!(
        call.hears_json(),
        json!({
            "event": "stop", "sequence_number": "4", "stream_id": STREAM,
            "stop": {"user_id": "AC1", "call_control_id": "CA1"},
        })
    );
    let pressed = call
        .protocol
        .pressed('1', UNIX_EPOCH + Duration::from_micros(1_749_113_659_698_408));
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(pressed).unwrap(),
        json!({
            "event": "dtmf", "sequence_number": "5", "stream_id": STREAM,
            "occurred_at": "2025-06-05T08:54:19.698408Z", "dtmf": {"digit": "1"},
        })
    );
}

#[test]
fn what_a_bot_sends_is_played_marked_and_cleared() {
    let mut call = conversation(Encoding::Pcmu);
    call.hears();
    call.hears();
    call.says(r#"{"event":"media","media":{"payload":"//8="}}"#).unwrap();
    call.says(r#"{"event":"mark","mark":{"name":"a"}}"#).unwrap();
    assert_eq!(call.play(1)[..3], [0xff, 0xff, 0xff]);
    assert_eq!(
        call.hears_json(),
        json!({"event": "mark", "sequence_number": "2", "stream_id": STREAM, "mark": {"name": "a"}})
    );
    call.says(r#"{"event":"media","media":{"payload":"//8="}}"#).unwrap();
    call.says(r#"{"event":"mark","mark":{"name":"b"}}"#).unwrap();
    call.says(r#"{"event":"clear"}"#).unwrap();
    call.tick();
    assert_eq!(
        (call.hears_json()["mark"]["name"].clone(), call.playout.queued()),
        (json!("b"), 0)
    );
}

#[test]
fn a_law_is_heard_and_said() {
    let mut call = conversation(Encoding::Pcma);
    call.hears();
    assert_eq!(call.hears_json()["start"]["media_format"]["encoding"], "PCMA");
    call.caller_says(&[0x80]);
    let payload = call.hears_json()["media"]["payload"].as_str().unwrap().to_owned();
    call.says(&format!(r#"{{"event":"media","media":{{"payload":"{payload}"}}}}"#))
        .unwrap();
    assert_eq!(
        (STANDARD.decode(&payload).unwrap(), call.play(1)[0]),
        (vec![0xaa], 0x80)
    );
}

#[test]
fn a_bot_is_told_of_its_mistakes() {
    let mut call = conversation(Encoding::Pcmu);
    call.hears();
    call.hears();
    let too_long = format!(r#"{{"event":"media","media":{{"payload":"{}"}}}}"#, "/".repeat(400_000));
    for (text, code, title) in [
        ("not json", 100_003, "malformed_frame"),
        (r#"{"event":"dance"}"#, 100_003, "malformed_frame"),
        (&too_long, 100_003, "malformed_frame"),
        (r#"{"event":"media","media":{"payload":"?"}}"#, 100_004, "invalid_media"),
    ] {
        assert_eq!(call.says(text), Err(Unusable::Malformed));
        call.tick();
        let error = call.hears_json();
        assert_eq!(
            (&error["event"], &error["stream_id"]),
            (&json!("error"), &json!(STREAM))
        );
        assert_eq!(
            (&error["payload"]["code"], &error["payload"]["title"]),
            (&json!(code), &json!(title))
        );
    }
    call.tick();
    call.stop();
    assert_eq!(call.hears_json()["event"], "stop", "one error a mistake");
}
