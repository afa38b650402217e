//! Whatever arrives as SDP: no panic, and what is answered is a valid answer.

#[path = "../gateway/fuzzed/sdp.rs"]
mod sdp;

use proptest::prelude::*;
use sdp::check;

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
