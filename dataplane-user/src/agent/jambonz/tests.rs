//! What the documentation of `listen` shows, message for message.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::*;
use crate::agent::web::testing::{Conversation, spec};
use crate::playout::DEFAULT_LIMIT;

fn conversation(rate: Rate) -> Conversation<Jambonz> {
    Conversation::start(Jambonz::new(&spec(), rate), DEFAULT_LIMIT)
}

#[test]
fn the_first_message_says_of_what_call_it_is() {
    let own = json!({
        "sampleRate": 16_000, "mixType": "mono", "callSid": "CA1", "callId": "CA1", "accountSid": "AC1",
        "direction": "inbound", "from": "+15550100", "to": "+15550200", "callStatus": "in-progress", "lang": "e\"n",
    });
    assert_eq!(conversation(Rate::Khz16).hears_json(), own);

    let mut spec = spec();
    spec.parameters = vec![("callSid".into(), "mine".into())];
    let mut call = Conversation::start(Jambonz::new(&spec, Rate::Khz8), DEFAULT_LIMIT);
    let first = call.hears_json();
    assert_eq!(
        (&first["callSid"], &first["sampleRate"]),
        (&json!("mine"), &json!(8000))
    );
}

#[test]
fn audio_is_binary_both_ways_and_keys_are_text() {
    let mut call = conversation(Rate::Khz16);
    call.hears();
    call.caller_says(&[0xff; 160]);
    assert_eq!(call.hears_audio().len(), 640);
    call.says_binary(&[0; 641]).unwrap();
    assert_eq!(call.playout.queued(), 160);
    call.caller_presses('2');
    assert_eq!(
        call.hears_json(),
        json!({"event": "dtmf", "dtmf": "2", "duration": "1600"})
    );
}

#[test]
fn marks_are_played_out_cleared_or_forgotten() {
    let mut call = conversation(Rate::Khz8);
    call.hears();
    let mark = |name: &str| format!(r#"{{"type":"mark","data":{{"name":"{name}"}}}}"#);
    let told = |name: &str, event: &str| json!({"type": "mark", "data": {"name": name, "event": event}});
    call.says_binary(&[0; 320]).unwrap();
    call.says(&mark("end")).unwrap();
    call.play(1);
    assert_eq!(call.hears_json(), told("end", "playout"));
    call.says_binary(&[0; 320]).unwrap();
    call.says(&mark("never")).unwrap();
    call.says(r#"{"type":"killAudio"}"#).unwrap();
    call.tick();
    assert_eq!(call.hears_json(), told("never", "cleared"));
    call.says_binary(&[0; 320]).unwrap();
    call.says(&mark("forgotten")).unwrap();
    call.says(r#"{"type":"clearMarks"}"#).unwrap();
    call.play(1);
    call.caller_presses('1');
    assert_eq!(call.hears_json()["event"], "dtmf", "no mark comes before it");
}

#[test]
fn whole_pieces_are_played_in_turn() {
    let mut call = conversation(Rate::Khz8);
    call.hears();
    let piece = |rest: &str, samples: usize| {
        let audio = STANDARD.encode(vec![0; 2 * samples]);
        format!(r#"{{"type":"playAudio","data":{{"audioContent":"{audio}"{rest}}}}}"#)
    };
    call.says(&piece(
        r#","audioContentType":"raw","sampleRate":"16000","id":"a""#,
        640,
    ))
    .unwrap();
    call.says(&piece(r#","sampleRate":8000"#, 160)).unwrap();
    assert_eq!(call.playout.queued(), 480);
    call.play(3);
    assert_eq!(call.hears_json(), json!({"type": "playDone", "data": {"id": "a"}}));
    assert_eq!(call.hears_json(), json!({"type": "playDone"}));

    call.says_binary(&[0; 3200]).unwrap();
    call.says(&piece(r#","sampleRate":8000,"queuePlay":false,"id":"b""#, 160))
        .unwrap();
    assert_eq!(call.playout.queued(), 160);
    for wrong in [
        r#","audioContentType":"mp3","sampleRate":8000"#,
        r#","sampleRate":11025"#,
        "",
    ] {
        assert_eq!(call.says(&piece(wrong, 1)), Err(Unusable::Malformed), "{wrong}");
    }
}

#[test]
fn a_bot_may_hang_up_and_transfer() {
    let mut call = conversation(Rate::Khz8);
    call.says(r#"{"type":"transfer","data":{"to":"+15550300"}}"#).unwrap();
    assert_eq!(call.wishes.transfer.as_ref().unwrap().to, "+15550300");
    call.says(r#"{"type":"disconnect"}"#).unwrap();
    assert_eq!(call.wishes.end, End::Now);
    assert_eq!(call.says(r#"{"type":"dance"}"#), Err(Unusable::Unknown));
    for wrong in [
        "",
        "{}",
        "[]",
        r#"{"type":"mark"}"#,
        r#"{"type":"playAudio","data":{"audioContent":5}}"#,
    ] {
        assert_eq!(call.says(wrong), Err(Unusable::Malformed), "{wrong}");
    }
}
