//! Whatever arrives as SDP: no panic, and what is answered is a valid answer.

use std::net::SocketAddr;

use proptest::prelude::*;
use voxlane::config::model::{RtcpMux, SdpIdentity, Transcode};
use voxlane::sdp::{Capabilities, Description, Local, Security, accept, answer, offer_like};
use voxlane_dataplane::codec::Codec;

const SAMPLES: [&str; 3] = [
    "v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8 0 96\r\n\
     a=rtpmap:96 telephone-event/8000\r\na=fmtp:96 0-15\r\na=ptime:20\r\na=maxptime:150\r\na=sendonly\r\n",
    "v=0\r\no=- 1 1 IN IP6 ::1\r\ns=-\r\nt=0 0\r\na=inactive\r\nm=video 5000 RTP/SAVP 31\r\nc=IN IP6 ::1\r\n\
     m=audio 4000 RTP/AVP 97 0\r\nc=IN IP4 192.0.2.1\r\na=rtpmap:97 PCMA/8000/1\r\na=rtcp:4005 IN IP4 192.0.2.2\r\n",
    "v=0\no=- 1 1 IN IP4 0.0.0.0\ns=-\nc=IN IP4 0.0.0.0\nt=0 0\nm=audio 65535 RTP/AVP 0 8 101 13\n\
     a=rtpmap:101 telephone-event/8000\nm=image 9 udptl t38\n",
];

/// A sample in which some bytes are replaced, some pieces doubled or left out.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<prop::sample::Index>(), 0..3_u8, any::<u8>(), 0..40_usize);
    (0..SAMPLES.len(), prop::collection::vec(edit, 0..8)).prop_map(|(sample, edits)| {
        let mut bytes = SAMPLES[sample].as_bytes().to_vec();
        for (at, kind, byte, length) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            let end = (at + length).min(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => drop(bytes.drain(at..end)),
                _ => {
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
        }
        bytes
    })
}

fn check(bytes: &[u8]) {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn mutated_sdp_is_answered_validly_or_refused(bytes in mutated()) {
        check(&bytes);
    }

    #[test]
    fn noise_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        check(&bytes);
    }
}
