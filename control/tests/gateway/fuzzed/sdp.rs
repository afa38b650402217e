//! Whatever arrives as SDP: what is answered is a valid answer.

#![allow(clippy::expect_used, reason = "in a test, an assertion")]

use std::net::SocketAddr;

use voxlane::config::model::{RtcpMux, SdpIdentity, Transcode};
use voxlane::sdp::{Capabilities, Description, Local, Security, accept, answer, offer_like};
use voxlane_dataplane::codec::Codec;

/// Reads it as an offer and as an answer.
pub fn check(bytes: &[u8]) {
    let Ok(theirs) = Description::parse(bytes) else { return };
    let identity = SdpIdentity {
        origin_user: "trusst".into(),
        session_name: "s".into(),
    };
    let local = Local {
        identity: &identity,
        session_id: 1,
        version: 1,
        rtp: SocketAddr::from(([203, 0, 113, 50], 10000)),
    };
    let caps = Capabilities {
        codecs: Codec::ALL.to_vec(),
        telephone_event: Some(101),
        ptime: 20,
        rtcp_mux: RtcpMux::Accept,
        security: Security::off(),
    };
    let _ = accept(&caps, &theirs);
    for transcode in [Transcode::Auto, Transcode::Off] {
        let _ = offer_like(&local, &caps, &theirs, &caps.codecs, transcode);
    }
    if let Ok((text, session)) = answer(&theirs, &local, &caps) {
        let streams = |text: &[u8]| -> Vec<String> {
            let lines = text.split(|&byte| byte == b'\n');
            let lines = lines.filter(|line| line.starts_with(b"m="));
            lines.map(|line| String::from_utf8_lossy(line).into_owned()).collect()
        };
        let (offer, answer) = (streams(bytes), streams(&text));
        assert_eq!(
            answer.len(),
            offer.len(),
            "RFC 3264 section 6: as many streams as the offer"
        );
        let ours = Description::parse(&text).expect("we read our own answer");
        let refused = |stream: &String| stream.split_ascii_whitespace().nth(1) == Some("0");
        let place = answer.iter().position(|stream| !refused(stream));
        let place = place.expect("one stream is taken");
        let answered = theirs.audio_at(place).expect("it is audio");
        let offered: Vec<u8> = answered.formats.iter().map(|format| format.payload_type).collect();
        for format in &ours.audio().expect("we wrote it").formats {
            assert!(offered.contains(&format.payload_type), "{format:?} was not offered");
        }
        assert!(offered.contains(&session.send_payload_type));
    }
}
