//! The RTCP a leg sends: a sender report and its CNAME (RFC 3550 sections 6.4.1 and 6.5.1).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often (RFC 3550 section 6.2).
pub(super) const INTERVAL: Duration = Duration::from_secs(5);

/// Characters of a CNAME: 96 random bits in hexadecimal (RFC 7022 section 4.2).
const CNAME_LEN: usize = 24;

const SENDER_REPORT_LEN: usize = 28;

/// Header, SSRC, item type and length, the text, and zeros up to a multiple of four, at least one.
const DESCRIPTION_LEN: usize = (4 + 4 + 2 + CNAME_LEN + 1).next_multiple_of(4);

/// Length of the compound packet.
pub(super) const LEN: usize = SENDER_REPORT_LEN + DESCRIPTION_LEN;

/// Seconds from 1900, where NTP time begins, to 1970.
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// What a sender report tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) ssrc: u32,
    /// Media time at `at`.
    pub(super) timestamp: u32,
    pub(super) packets: u64,
    /// Payload bytes.
    pub(super) octets: u64,
    /// Now, by the wall clock.
    pub(super) at: SystemTime,
}

/// Who sends: the same for as long as the leg is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cname([u8; CNAME_LEN]);

impl Cname {
    /// A name nobody else has.
    pub(super) fn random() -> Self {
        Self(rand::random::<[u8; CNAME_LEN]>().map(|byte| b"0123456789abcdef"[usize::from(byte & 0x0f)]))
    }
}

/// The compound packet.
pub(super) fn sender_report(sent: &Sent, cname: Cname) -> [u8; LEN] {
    let mut packet = [0; LEN];
    let (report, description) = packet.split_at_mut(SENDER_REPORT_LEN);
    let since_1970 = sent.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    // NTP seconds, and the counters, are modulo 2^32.
    let words = [
        0x80c8_0006, // version 2, no reception report, type 200, seven words
        sent.ssrc,
        (since_1970.as_secs() + NTP_TO_UNIX) as u32,
        ((u64::from(since_1970.subsec_nanos()) << 32) / 1_000_000_000) as u32,
        sent.timestamp,
        sent.packets as u32,
        sent.octets as u32,
    ];
    for (bytes, word) in report.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    let length = (DESCRIPTION_LEN / 4 - 1) as u8;
    description[..4].copy_from_slice(&[0x81, 202, 0, length]);
    description[4..8].copy_from_slice(&sent.ssrc.to_be_bytes());
    description[8..10].copy_from_slice(&[1, CNAME_LEN as u8]);
    description[10..10 + CNAME_LEN].copy_from_slice(&cname.0);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_report_and_a_description() {
        let sent = Sent {
            ssrc: 0xdead_beef,
            timestamp: 160,
            packets: 250,
            octets: 40_000,
            at: UNIX_EPOCH + Duration::from_millis(500),
        };
        let packet = sender_report(&sent, Cname::random());
        assert_eq!(packet.len() % 4, 0);
        assert_eq!(packet[..4], [0x80, 200, 0, 6]);
        assert_eq!(packet[4..8], [0xde, 0xad, 0xbe, 0xef]);
        assert_eq!(packet[8..16], [0x83, 0xaa, 0x7e, 0x80, 0x80, 0, 0, 0]);
        assert_eq!(packet[16..28], [0, 0, 0, 160, 0, 0, 0, 250, 0, 0, 0x9c, 0x40]);
        assert_eq!(packet[28..32], [0x81, 202, 0, 8]);
        assert_eq!(packet[36..38], [1, 24]);
        assert!(packet[38..62].iter().all(u8::is_ascii_hexdigit));
        assert_eq!(packet[62..], [0, 0]);
    }
}
