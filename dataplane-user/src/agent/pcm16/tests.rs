//! What docs/agents/pcm16.md promises.

use serde_json::json;

use super::*;
use crate::agent::web::testing::{Conversation, spec};
use crate::media_plane::TransferState;
use crate::playout::DEFAULT_LIMIT;

fn conversation(rate: Rate) -> Conversation<Pcm16> {
    let mut call = Conversation::start(Pcm16::new(&spec(), rate), DEFAULT_LIMIT);
    let first = call.hears_json();
    assert_eq!(
        first,
        json!({
            "type": "start", "sample_rate": 1000 * rate.samples_a_millisecond(),
            "stream": "MZ0123456789abcdef0123456789abcdef", "call": "CA1", "account": "AC1", "from": "+15550100",
            "to": "+15550200", "direction": "inbound", "parameters": {"lang": "e\"n"},
        })
    );
    call
}

#[test]
fn audio_is_binary_at_the_sample_rate_that_was_asked_for() {
    for (rate, bytes) in [
        (Rate::Khz8, 320),
        (Rate::Khz16, 640),
        (Rate::Khz24, 960),
        (Rate::Khz48, 1920),
    ] {
        let mut call = conversation(rate);
        call.caller_says(&[0xff; 160]);
        assert_eq!(call.hears_audio().len(), bytes);
        call.says_binary(&vec![0; bytes]).unwrap();
        assert_eq!(call.playout.queued(), 160);
    }
}

#[test]
fn marks_keys_and_transfers_are_told() {
    let mut call = conversation(Rate::Khz8);
    call.says_binary(&[0; 320]).unwrap();
    call.says(r#"{"type":"mark","name":"a\"b"}"#).unwrap();
    call.play(1);
    assert_eq!(
        call.hears_json(),
        json!({"type": "mark", "name": "a\"b", "played": true})
    );
    call.says_binary(&[0; 320]).unwrap();
    call.says(r#"{"type":"mark","name":"c"}"#).unwrap();
    call.says(r#"{"type":"clear"}"#).unwrap();
    call.tick();
    assert_eq!(call.hears_json(), json!({"type": "mark", "name": "c", "played": false}));
    call.caller_presses('#');
    assert_eq!(call.hears_json(), json!({"type": "dtmf", "digit": "#"}));
    let notice = AgentNotice {
        state: TransferState::Failed,
        to: "+15550300".into(),
        status: Some(486),
        reason: None,
    };
    let told = call.protocol.transferred(&notice);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(told).unwrap(),
        json!({"type": "transfer", "transfer": {"status": "failed", "to": "+15550300", "sip_status": "486"}})
    );
    call.stop();
    assert_eq!(call.hears_json(), json!({"type": "stop"}));
}

#[test]
fn a_bot_presses_keys_transfers_and_hangs_up() {
    let mut call = conversation(Rate::Khz8);
    call.says(r#"{"type":"dtmf","digits":"12#"}"#).unwrap();
    assert!(call.keys.is_active());
    call.says(r#"{"type":"transfer","to":"+15550300","by":"refer"}"#)
        .unwrap();
    let wanted = call.wishes.transfer.take().unwrap();
    assert_eq!((wanted.to.as_str(), wanted.by.as_deref()), ("+15550300", Some("refer")));
    call.says(r#"{"type":"hangup"}"#).unwrap();
    assert_eq!(call.wishes.end, End::WhenPlayed);
}

#[test]
fn what_makes_no_sense_is_counted() {
    let mut call = conversation(Rate::Khz8);
    let many = format!(r#"{{"type":"dtmf","digits":"{}"}}"#, "1".repeat(1000));
    for wrong in [
        "",
        "[]",
        "{}",
        r#"{"type":"mark"}"#,
        r#"{"type":"transfer"}"#,
        r#"{"type":"dtmf","digits":"1x"}"#,
        &many,
    ] {
        assert_eq!(call.says(wrong), Err(Unusable::Malformed), "{wrong}");
    }
    assert!(!call.keys.is_active());
    assert_eq!(call.says(r#"{"type":"dance"}"#), Err(Unusable::Unknown));
}
