//! SRTP keys, and when there are new ones.

use super::*;

/// A key as an `a=crypto` line has it.
fn crypto(tag: u32, key: u8) -> String {
    let suite = Suite::AesCm128HmacSha1Tag80;
    let keying = Keying::from_bytes(suite, &[key; 30], None).unwrap();
    format!("a={}\r\n", Crypto { tag, keying })
}

/// A re-INVITE of leg A with this key; the SRTP keys that follow from it.
fn offered_again(call: &mut Call, key: u8) -> SrtpKeys {
    let sdp = format!("{}{}", OFFER.replace("RTP/AVP", "RTP/SAVP"), crypto(1, key));
    let actions = on(
        call,
        Event::Reinvite {
            side: Side::A,
            sdp: Some(sdp.into_bytes()),
        },
    );
    let [Action::Program { session, .. }, Action::Answer { sdp, .. }] = &actions[..] else {
        panic!("{actions:?}");
    };
    let keys = session.srtp.clone().unwrap();
    assert!(text(sdp).contains(keys.send.inline().as_str()));
    keys
}

#[test]
fn another_key_of_theirs_brings_another_of_ours_and_the_same_key_none() {
    let sdp = format!("{}{}", OFFER.replace("RTP/AVP", "RTP/SAVP"), crypto(1, 7));
    let plan = Plan::Agent {
        name: "echo".into(),
        host: None,
    };
    let mut call = secured_call(plan, &sdp, KeysInClear::Allow);
    on(&mut call, Event::Start);
    on(&mut call, opened(Side::A));
    on(&mut call, Event::AgentReady);
    let first = call.session(Side::A).unwrap().srtp.clone().unwrap();
    let same = offered_again(&mut call, 7);
    assert_eq!(same, first);
    let other = offered_again(&mut call, 8);
    assert_ne!(other.receive, first.receive);
    assert_ne!(other.send, first.send);
    // Neither shows in what may be logged.
    let shown = format!("{:?}", call.session(Side::A));
    assert!(!shown.contains(other.send.inline().as_str()), "{shown}");
}

#[test]
fn keys_over_unencrypted_signalling_are_refused() {
    let sdp = format!("{}{}", OFFER.replace("RTP/AVP", "RTP/SAVP"), crypto(1, 7));
    let plan = Plan::Agent {
        name: "echo".into(),
        host: None,
    };
    let mut call = secured_call(plan, &sdp, KeysInClear::Refuse);
    on(&mut call, Event::Start);
    let actions = on(&mut call, opened(Side::A));
    assert!(
        matches!(&actions[..], [Action::Reject { status: 488, text, .. }, ..] if text.contains("unencrypted signalling")),
        "{actions:?}"
    );
}
