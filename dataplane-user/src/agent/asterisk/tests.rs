//! What the documentation of `chan_websocket` shows.

use serde_json::json;

use super::*;
use crate::agent::web::testing::{Conversation, spec};
use crate::codec::resample::Rate;
use crate::playout::DEFAULT_LIMIT;

const CONNECTION: &str = "01234567-89ab-cdef-0123-456789abcdef";

fn conversation(format: Format, control: ControlMessages, limit: usize) -> Conversation<Asterisk> {
    Conversation::start(Asterisk::new(&spec(), format, control), limit)
}

fn plain() -> Conversation<Asterisk> {
    let mut call = conversation(Format::Ulaw, ControlMessages::PlainText, DEFAULT_LIMIT);
    call.hears();
    call
}

fn json() -> Conversation<Asterisk> {
    let mut call = conversation(Format::Ulaw, ControlMessages::Json, DEFAULT_LIMIT);
    call.hears();
    call
}

#[test]
fn the_first_message_says_what_audio_there_is() {
    let mut call = conversation(Format::Ulaw, ControlMessages::PlainText, DEFAULT_LIMIT);
    assert_eq!(
        call.hears(),
        format!(
            "MEDIA_START connection_id:{CONNECTION} channel:WebSocket/CA1 channel_id:CA1 format:ulaw optimal_frame_size:160 ptime:20"
        )
    );
    let mut call = conversation(Format::Linear(Rate::Khz16), ControlMessages::Json, DEFAULT_LIMIT);
    assert_eq!(
        call.hears_json(),
        json!({
            "event": "MEDIA_START", "connection_id": CONNECTION, "channel": "WebSocket/CA1", "channel_id": "CA1",
            "format": "slin16", "optimal_frame_size": 640, "ptime": 20, "channel_variables": {"lang": "e\"n"},
        })
    );
    call.caller_says(&[0xff; 160]);
    assert_eq!(call.hears_audio().len(), 640);
}

#[test]
fn keys_are_told_in_either_form() {
    let (mut plain, mut json) = (plain(), json());
    plain.caller_presses('5');
    json.caller_presses('5');
    assert_eq!(plain.hears(), "DTMF_END digit:5 channel_id:CA1");
    assert_eq!(
        json.hears_json(),
        json!({"event": "DTMF_END", "channel_id": "CA1", "digit": "5"})
    );
}

#[test]
fn a_bot_that_sends_too_much_is_asked_to_pause_and_to_go_on() {
    let mut call = plain();
    call.says_binary(&vec![1; 899 * 160]).unwrap();
    call.tick();
    call.says_binary(&[1; 160]).unwrap();
    call.says("GET_STATUS").unwrap();
    call.tick();
    assert_eq!(call.hears(), "MEDIA_XOFF");
    assert_eq!(
        call.hears(),
        "STATUS channel_id:CA1 queue_length:900 xon_level:800 xoff_level:900 queue_full:true bulk_media:false \
         media_paused:false"
    );
    // What was under way is played all the same.
    call.says_binary(&vec![1; 100 * 160]).unwrap();
    assert!(call.play(200).iter().all(|code| *code == 1));
    call.says("GET_STATUS").unwrap();
    call.tick();
    assert!(call.hears().contains("queue_length:800"), "not below the level yet");
    call.play(1);
    assert_eq!(call.hears(), "MEDIA_XON");
}

#[test]
fn a_small_queue_has_lower_levels() {
    let mut call = conversation(Format::Ulaw, ControlMessages::Json, 100 * 160);
    call.hears();
    call.says_binary(&vec![1; 90 * 160]).unwrap();
    call.says(r#"{"command":"GET_STATUS"}"#).unwrap();
    call.tick();
    assert_eq!(call.hears_json(), json!({"event": "MEDIA_XOFF", "channel_id": "CA1"}));
    assert_eq!(
        call.hears_json(),
        json!({
            "event": "STATUS", "channel_id": "CA1", "queue_length": 90, "xon_level": 80, "xoff_level": 90,
            "queue_full": true, "bulk_media": false, "media_paused": false,
        })
    );
}

#[test]
fn bulk_marks_and_drains_are_told_when_they_are_played() {
    let mut call = plain();
    call.says("START_MEDIA_BUFFERING").unwrap();
    call.says_binary(&[1; 100]).unwrap();
    call.says("MARK_MEDIA first").unwrap();
    call.says_binary(&[1; 100]).unwrap();
    call.says("STOP_MEDIA_BUFFERING all-of-it").unwrap();
    call.says("REPORT_QUEUE_DRAINED").unwrap();
    call.play(1);
    assert_eq!(call.hears(), "MEDIA_MARK_PROCESSED first");
    call.play(1);
    assert_eq!(call.hears(), "MEDIA_BUFFERING_COMPLETED all-of-it");
    assert_eq!(call.hears(), "QUEUE_DRAINED");

    let mut call = json();
    call.says(r#"{"command":"MARK_MEDIA","correlation_id":"x"}"#).unwrap();
    call.says(r#"{"command":"STOP_MEDIA_BUFFERING"}"#).unwrap();
    call.tick();
    let told = |event: &str, id: &str| json!({"event": event, "channel_id": "CA1", "correlation_id": id});
    assert_eq!(call.hears_json(), told("MEDIA_MARK_PROCESSED", "x"));
    assert_eq!(call.hears_json(), told("MEDIA_BUFFERING_COMPLETED", ""));
}

#[test]
fn a_flush_drops_audio_and_marks_and_ends_a_pause() {
    let mut call = plain();
    call.says("PAUSE_MEDIA").unwrap();
    call.says_binary(&[1; 1600]).unwrap();
    call.says("MARK_MEDIA never").unwrap();
    call.says("REPORT_QUEUE_DRAINED").unwrap();
    assert!(call.play(2).iter().all(|code| *code != 1));
    call.says("FLUSH_MEDIA").unwrap();
    call.tick();
    assert_eq!(
        (call.hears().as_str(), call.playout.is_paused()),
        ("QUEUE_DRAINED", false)
    );
    call.says_binary(&[2; 160]).unwrap();
    assert_eq!(call.play(1), [2; 160]);
    call.says("PAUSE_MEDIA").unwrap();
    call.says_binary(&[3; 160]).unwrap();
    assert_ne!(call.play(1), [3; 160]);
    call.says("CONTINUE_MEDIA").unwrap();
    assert_eq!(call.play(1), [3; 160]);
}

#[test]
fn audio_may_go_one_way_only() {
    let mut call = plain();
    call.says("SET_MEDIA_DIRECTION out").unwrap();
    call.caller_says(&[1; 160]);
    call.says(r#"{"command":"SET_MEDIA_DIRECTION","direction":"in"}"#)
        .unwrap();
    call.caller_says(&[2; 160]);
    assert_eq!(call.hears_audio(), [2; 160]);
    call.says_binary(&[3; 160]).unwrap();
    assert_eq!(call.playout.queued(), 0);
    call.says("MARK_MEDIA").unwrap();
    call.tick();
    assert_eq!(
        call.hears(),
        "ERROR channel_id:CA1 error_text:MARK_MEDIA not supported while media direction is 'in'"
    );
}

#[test]
fn a_bot_hangs_up_and_is_told_what_makes_no_sense() {
    let mut call = json();
    call.says("ANSWER").unwrap();
    assert_eq!(call.says("DANCE"), Err(Unusable::Unknown));
    for wrong in ["{", r#"{"command":1}"#, "SET_MEDIA_DIRECTION", "SET_MEDIA_DIRECTION up"] {
        assert_eq!(call.says(wrong), Err(Unusable::Malformed), "{wrong}");
    }
    call.tick();
    assert_eq!(
        call.hears_json(),
        json!({"event": "ERROR", "channel_id": "CA1", "error_text": "Unable to parse command"})
    );
    assert_eq!(call.wishes.end, End::Unasked);
    call.says("HANGUP").unwrap();
    assert_eq!(call.wishes.end, End::Now);
}
