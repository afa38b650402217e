//! SRTP by offer and answer: what each policy offers, takes and refuses.

use voxlane::config::model::{KeysInClear, RtcpMux, SdpIdentity, SrtpPolicy};
use voxlane::sdp::{
    Capabilities, Crypto, Description, Local, Security, Signalling, accept, answer, may_carry_keys, offer,
};
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::srtp::{Keying, Suite};

fn identity() -> SdpIdentity {
    SdpIdentity {
        origin_user: "trusst".into(),
        session_name: "Trusst AI Voice Session".into(),
    }
}

fn local(identity: &SdpIdentity) -> Local<'_> {
    Local {
        identity,
        session_id: 1,
        version: 1,
        rtp: "203.0.113.50:10000".parse().unwrap(),
    }
}

fn caps(policy: SrtpPolicy, may_carry_keys: bool) -> Capabilities {
    Capabilities {
        codecs: vec![Codec::Pcmu],
        telephone_event: None,
        ptime: 20,
        rtcp_mux: RtcpMux::Accept,
        security: Security {
            policy,
            may_carry_keys,
            ours: Crypto::all_random(),
        },
    }
}

fn theirs(media: &[&str]) -> Description {
    let head = [
        "v=0",
        "o=- 1 1 IN IP4 198.51.100.7",
        "s=-",
        "c=IN IP4 198.51.100.7",
        "t=0 0",
    ];
    let lines: Vec<&str> = head.iter().chain(media).copied().collect();
    Description::parse(lines.join("\r\n").as_bytes()).unwrap()
}

fn line(tag: u32, suite: Suite) -> (String, Keying) {
    let keying = Keying::random(suite, None);
    (
        format!(
            "a={}",
            Crypto {
                tag,
                keying: keying.clone()
            }
        ),
        keying,
    )
}

fn text(sdp: Vec<u8>) -> String {
    String::from_utf8(sdp).unwrap()
}

#[test]
fn each_policy_offers_its_profile() {
    let identity = identity();
    let local = local(&identity);
    for (policy, may, profile, lines) in [
        (SrtpPolicy::Off, true, "RTP/AVP", 0),
        (SrtpPolicy::Optional, true, "RTP/AVP", 5),
        (SrtpPolicy::Optional, false, "RTP/AVP", 0),
        (SrtpPolicy::Required, true, "RTP/SAVP", 5),
    ] {
        let offer = text(offer(&local, &caps(policy, may)).unwrap());
        assert!(offer.contains(&format!("m=audio 10000 {profile} 0\r\n")), "{offer}");
        assert_eq!(offer.matches("a=crypto:").count(), lines, "{offer}");
    }
    let refused = offer(&local, &caps(SrtpPolicy::Required, false))
        .unwrap_err()
        .to_string();
    assert!(refused.contains("TLS"), "{refused}");
}

#[test]
fn keys_travel_over_tls_unless_a_lab_says_otherwise() {
    assert!(may_carry_keys(Signalling::Encrypted, KeysInClear::Refuse));
    assert!(may_carry_keys(Signalling::Clear, KeysInClear::Allow));
    assert!(!may_carry_keys(Signalling::Clear, KeysInClear::Refuse));
}

#[test]
fn the_first_line_that_can_be_used_is_answered_under_its_tag_with_a_key_of_ours() {
    let identity = identity();
    let (strange, _) = line(1, Suite::AeadAes128Gcm);
    let strange = strange.replace("AEAD_AES_128_GCM", "AES_192_CM_HMAC_SHA1_80");
    let (second, keying) = line(2, Suite::AesCm128HmacSha1Tag32);
    let (third, _) = line(3, Suite::AeadAes256Gcm);
    for policy in [SrtpPolicy::Optional, SrtpPolicy::Required] {
        // RTP/AVP with keys is RFC 8643.
        for profile in ["RTP/SAVP", "RTP/AVP"] {
            let offer = theirs(&[&format!("m=audio 4000 {profile} 0"), &strange, &second, &third]);
            let (sdp, session) = answer(&offer, &local(&identity), &caps(policy, true)).unwrap();
            let sdp = text(sdp);
            let keys = session.srtp.unwrap();
            assert_eq!(keys.receive, keying);
            assert_eq!(keys.send.suite(), Suite::AesCm128HmacSha1Tag32);
            assert_ne!(keys.send, keys.receive);
            assert!(sdp.contains(&format!("m=audio 10000 {profile} 0\r\n")), "{sdp}");
            let ours = Crypto {
                tag: 2,
                keying: keys.send,
            };
            assert!(sdp.ends_with(&format!("a={ours}\r\n")), "{sdp}");
            assert_eq!(sdp.matches("a=crypto").count(), 1, "{sdp}");
        }
    }
}

#[test]
fn an_identifier_is_answered_with_one_as_long() {
    let identity = identity();
    let (line, _) = line(1, Suite::AesCm128HmacSha1Tag80);
    let offer = theirs(&["m=audio 4000 RTP/SAVP 0", &format!("{line}|2^20|77:2")]);
    let (sdp, session) = answer(&offer, &local(&identity), &caps(SrtpPolicy::Optional, true)).unwrap();
    assert!(text(sdp).ends_with("|1:2\r\n"));
    let keys = session.srtp.unwrap();
    let [receive, send] = [keys.receive, keys.send].map(|key| key.mki().map(|mki| (mki.value(), mki.length())));
    assert_eq!((receive, send), (Some((77, 2)), Some((1, 2))));
}

#[test]
fn what_a_policy_excludes_is_refused_and_says_why() {
    let identity = identity();
    let (line, _) = line(1, Suite::AesCm128HmacSha1Tag80);
    let unencrypted = format!("{line} UNENCRYPTED_SRTP");
    let cases: [(SrtpPolicy, bool, &[&str], &str); 6] = [
        (
            SrtpPolicy::Off,
            true,
            &["m=audio 4000 RTP/SAVP 0", &line],
            "srtp = \"off\"",
        ),
        (
            SrtpPolicy::Required,
            true,
            &["m=audio 4000 RTP/AVP 0"],
            "srtp = \"required\"",
        ),
        (
            SrtpPolicy::Required,
            false,
            &["m=audio 4000 RTP/SAVP 0", &line],
            "unencrypted signalling",
        ),
        (
            SrtpPolicy::Optional,
            false,
            &["m=audio 4000 RTP/SAVP 0", &line],
            "unencrypted signalling",
        ),
        (SrtpPolicy::Optional, true, &["m=audio 4000 RTP/SAVP 0"], "it has none"),
        (
            SrtpPolicy::Required,
            true,
            &["m=audio 4000 RTP/SAVP 0", &unencrypted],
            "UNENCRYPTED_SRTP",
        ),
    ];
    for (policy, may, media, why) in cases {
        let refused = answer(&theirs(media), &local(&identity), &caps(policy, may))
            .unwrap_err()
            .to_string();
        assert!(refused.contains(why), "{policy:?}: {refused}");
    }
}

#[test]
fn plain_rtp_is_answered_plainly_where_that_may_be() {
    let identity = identity();
    let (line, _) = line(1, Suite::AesCm128HmacSha1Tag80);
    let offer = theirs(&["m=audio 4000 RTP/AVP 0", &line]);
    for (policy, may) in [(SrtpPolicy::Off, true), (SrtpPolicy::Optional, false)] {
        let (sdp, session) = answer(&offer, &local(&identity), &caps(policy, may)).unwrap();
        assert_eq!(session.srtp, None);
        assert!(!text(sdp).contains("crypto"));
    }
}

#[test]
fn of_the_same_audio_over_rtp_and_srtp_the_policy_chooses() {
    let identity = identity();
    let (line, keying) = line(1, Suite::AesCm128HmacSha1Tag80);
    let offer = theirs(&["m=audio 4000 RTP/AVP 0", "m=audio 4002 RTP/SAVP 0", &line]);
    let (sdp, session) = answer(&offer, &local(&identity), &caps(SrtpPolicy::Required, true)).unwrap();
    assert_eq!(
        (session.remote_rtp.port(), session.srtp.unwrap().receive),
        (4002, keying)
    );
    let sdp = text(sdp);
    assert!(
        sdp.contains("m=audio 0 RTP/AVP 0\r\nm=audio 10000 RTP/SAVP 0\r\n"),
        "{sdp}"
    );
    let (_, session) = answer(&offer, &local(&identity), &caps(SrtpPolicy::Off, true)).unwrap();
    assert_eq!((session.remote_rtp.port(), session.srtp), (4000, None));
}

#[test]
fn an_answer_takes_one_of_the_keys_that_were_offered() {
    let (yes, keying) = line(4, Suite::AesCm128HmacSha1Tag80);
    let (other_tag, _) = line(3, Suite::AesCm128HmacSha1Tag80);
    for (policy, profile) in [(SrtpPolicy::Required, "RTP/SAVP"), (SrtpPolicy::Optional, "RTP/AVP")] {
        let sent = caps(policy, true);
        let media = format!("m=audio 4000 {profile} 0");
        let keys = accept(&sent, &theirs(&[&media, &yes])).unwrap().srtp.unwrap();
        assert_eq!((&keys.receive, &keys.send), (&keying, &sent.security.ours[3].keying));
        assert!(accept(&sent, &theirs(&[&media, &other_tag])).is_err());
        assert!(accept(&sent, &theirs(&[&media, &yes, &other_tag])).is_err());
    }
    assert!(accept(&caps(SrtpPolicy::Required, true), &theirs(&["m=audio 4000 RTP/AVP 0"])).is_err());
    assert!(accept(&caps(SrtpPolicy::Required, true), &theirs(&["m=audio 4000 RTP/SAVP 0"])).is_err());
    let plain = accept(&caps(SrtpPolicy::Optional, true), &theirs(&["m=audio 4000 RTP/AVP 0"])).unwrap();
    assert_eq!(plain.srtp, None);
    assert!(
        accept(
            &caps(SrtpPolicy::Off, true),
            &theirs(&["m=audio 4000 RTP/SAVP 0", &yes])
        )
        .is_err()
    );
}
