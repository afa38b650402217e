//! SRTP and SRTCP with libsrtp at the other end, both ways, in every suite.

#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]

use voxlane_dataplane::srtp::{Inbound, Keying, Kind, MAX_OVERHEAD, Outbound, Refusal, Suite};
use voxlane_tests::peers::libsrtp::{Session, Status, Way};

/// Room for what either adds.
const ROOM: usize = 200;

/// `srtp_err_status_auth_fail`, `srtp_err_status_replay_fail`.
const WRONG_TAG: Status = Status(7);
const REPLAYED: Status = Status(9);

fn master(suite: Suite) -> Vec<u8> {
    (0..suite.key_len() + suite.salt_len())
        .map(|place| place as u8 * 5 + 1)
        .collect()
}

fn keying(suite: Suite) -> Keying {
    Keying::from_bytes(suite, &master(suite), None).unwrap()
}

/// libsrtp, or `None` on a machine without it, where that may be.
fn session(suite: Suite, way: Way) -> Option<Session> {
    match Session::new(suite.name(), &master(suite), way) {
        Ok(session) => Some(session),
        Err(reason) => {
            assert!(
                std::env::var_os("CI").is_none(),
                "a test may not be skipped where CI is set: {reason}"
            );
            eprintln!("skipped: {reason}");
            None
        }
    }
}

/// An RTP packet; every fourth has contributors and an extension.
fn rtp(sequence: u16, ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 0, 0, 0, 0, 0, 0, 0];
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    if sequence.is_multiple_of(4) {
        packet[0] = 0x92;
        packet.extend([1, 2, 3, 4, 5, 6, 7, 8, 0xbe, 0xde, 0, 1, 0x10, 0xff, 0, 0]);
    }
    let length = 160 - usize::from(sequence % 7);
    packet.extend((0..length).map(|place| (place as u16 ^ sequence) as u8));
    packet
}

fn rtcp(ssrc: u32, words: u8) -> Vec<u8> {
    let mut packet = vec![0x80, 200, 0, words + 1];
    packet.extend(ssrc.to_be_bytes());
    packet.extend((0..4 * words).map(|place| place ^ 0x5a));
    packet
}

fn with_room(packet: &[u8]) -> Vec<u8> {
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + ROOM, 0);
    buffer
}

/// Sequence numbers over two wraps, with losses and late packets.
fn sequences() -> impl Iterator<Item = u16> {
    (0..140u32).map(|place| {
        let late = if place % 9 == 5 { 3 } else { 0 };
        (32_000 + place * 1100 - late * 1100) as u16
    })
}

#[test]
fn libsrtp_reads_what_we_protect() {
    for suite in Suite::ALL {
        let Some(mut theirs) = session(suite, Way::Inbound) else {
            return;
        };
        let mut ours = Outbound::new(&keying(suite)).unwrap();
        for ssrc in [1, 0xdead_beef] {
            for sequence in (65_000..65_536).chain(0..300).map(|sequence| sequence as u16) {
                let packet = rtp(sequence, ssrc);
                let mut buffer = with_room(&packet);
                let length = ours.protect(Kind::Rtp, &mut buffer, packet.len()).unwrap();
                assert!(length <= packet.len() + MAX_OVERHEAD);
                let length = theirs.unprotect(&mut buffer[..length]).unwrap();
                assert!(buffer[..length] == packet, "{suite} {sequence}");
            }
            for words in 0..40 {
                let packet = rtcp(ssrc, words);
                let mut buffer = with_room(&packet);
                let length = ours.protect(Kind::Rtcp, &mut buffer, packet.len()).unwrap();
                let length = theirs.unprotect_rtcp(&mut buffer[..length]).unwrap();
                assert!(buffer[..length] == packet, "{suite} {words}");
            }
        }
    }
}

#[test]
fn we_read_what_libsrtp_protects() {
    for suite in Suite::ALL {
        let Some(mut theirs) = session(suite, Way::Outbound) else {
            return;
        };
        let mut ours = Inbound::new(&keying(suite)).unwrap();
        for ssrc in [1, 0xdead_beef] {
            for sequence in (65_000..65_536).chain(0..300).map(|sequence| sequence as u16) {
                let packet = rtp(sequence, ssrc);
                let mut buffer = with_room(&packet);
                let length = theirs.protect(&mut buffer, packet.len()).unwrap();
                let again = buffer[..length].to_vec();
                let length = ours.unprotect(Kind::Rtp, &mut buffer[..length]).unwrap();
                assert!(buffer[..length] == packet, "{suite} {sequence}");
                assert_eq!(ours.unprotect(Kind::Rtp, &mut again.clone()), Err(Refusal::Replayed));
            }
            for words in 0..40 {
                let packet = rtcp(ssrc, words);
                let mut buffer = with_room(&packet);
                let length = theirs.protect_rtcp(&mut buffer, packet.len()).unwrap();
                let again = buffer[..length].to_vec();
                let length = ours.unprotect(Kind::Rtcp, &mut buffer[..length]).unwrap();
                assert!(buffer[..length] == packet, "{suite} {words}");
                assert_eq!(ours.unprotect(Kind::Rtcp, &mut again.clone()), Err(Refusal::Replayed));
            }
        }
    }
}

/// Both follow the same rollover counter when packets are lost or late around a wrap, and refuse the same packets.
#[test]
fn both_follow_a_stream_with_losses() {
    for suite in Suite::ALL {
        let (Some(mut theirs), Some(mut reader)) = (session(suite, Way::Outbound), session(suite, Way::Inbound)) else {
            return;
        };
        let mut ours = Inbound::new(&keying(suite)).unwrap();
        let mut writer = Outbound::new(&keying(suite)).unwrap();
        let mut read = 0;
        for sequence in sequences() {
            let packet = rtp(sequence, 7);
            let mut buffer = with_room(&packet);
            let Ok(length) = theirs.protect(&mut buffer, packet.len()) else {
                // Too late for libsrtp's window, and so for ours.
                assert!(
                    writer
                        .protect(Kind::Rtp, &mut with_room(&packet), packet.len())
                        .is_err()
                );
                continue;
            };
            let mut same = with_room(&packet);
            assert_eq!(writer.protect(Kind::Rtp, &mut same, packet.len()), Ok(length));
            assert!(same[..length] == buffer[..length], "{suite} {sequence}");
            let got = ours.unprotect(Kind::Rtp, &mut buffer[..length]);
            assert_eq!(got, Ok(packet.len()), "{suite} {sequence}");
            assert_eq!(reader.unprotect(&mut same[..length]), Ok(packet.len()));
            read += 1;
        }
        assert!(read > 100, "{read}");
    }
}

#[test]
fn libsrtp_refuses_what_we_refuse() {
    for suite in Suite::ALL {
        let Some(mut theirs) = session(suite, Way::Inbound) else {
            return;
        };
        let mut writer = Outbound::new(&keying(suite)).unwrap();
        let mut ours = Inbound::new(&keying(suite)).unwrap();
        let packet = rtp(9, 7);
        let mut buffer = with_room(&packet);
        let length = writer.protect(Kind::Rtp, &mut buffer, packet.len()).unwrap();
        buffer.truncate(length);
        let mut wrong = buffer.clone();
        wrong[20] ^= 1;
        assert_eq!(theirs.unprotect(&mut wrong.clone()), Err(WRONG_TAG));
        assert_eq!(ours.unprotect(Kind::Rtp, &mut wrong), Err(Refusal::Authentication));
        assert!(theirs.unprotect(&mut buffer.clone()).is_ok());
        assert!(ours.unprotect(Kind::Rtp, &mut buffer.clone()).is_ok());
        assert_eq!(theirs.unprotect(&mut buffer.clone()), Err(REPLAYED));
        assert_eq!(ours.unprotect(Kind::Rtp, &mut buffer), Err(Refusal::Replayed));
    }
}
