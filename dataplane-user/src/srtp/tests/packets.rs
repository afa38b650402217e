//! What is refused, and the two engines beside each other.

use super::*;

/// What one engine encrypts and tags, the other reads, whatever lies where in the packet.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_engines_agree() {
    let key: Vec<u8> = (7..39).collect();
    let auth: Vec<u8> = (100..120).collect();
    for key in [&key[..16], &key] {
        let Some(stitched) = stitched::Keys::new(key, &auth) else {
            return; // the processor has no such instructions: the other engine is the only one
        };
        let portable = portable::Keys::new(key, &auth).unwrap();
        let iv = 0x0123_4567_89ab_cdef_fedc_ba98_7654_0000;
        for length in (0..420).chain([1500, 65_000]) {
            for clear in [0, 8, 12, 16, 20, 52, 63, 64, 65, 72, 128, 140, 200] {
                if clear > length {
                    continue;
                }
                let plain: Vec<u8> = (0..length).map(|place| (place * 7) as u8).collect();
                let (mut a, mut b) = (plain.clone(), plain.clone());
                let tag = stitched.encrypt_then_tag(&mut a, clear, iv, 0x8000_0001);
                assert_eq!(tag, portable.encrypt_then_tag(&mut b, clear, iv, 0x8000_0001));
                assert!(a == b, "{length} {clear}");
                assert_eq!(tag, stitched.tag_and_decrypt(&mut a, clear, iv, 0x8000_0001));
                assert_eq!(tag, portable.tag_and_decrypt(&mut b, clear, iv, 0x8000_0001));
                assert!(a == plain && b == plain, "{length} {clear}");
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn tasks<'a>(keys: [&'a stitched::Keys; 2], packets: &'a mut [Vec<u8>; 2], ivs: [u128; 2]) -> [stitched::Task<'a>; 2] {
    let [a, b] = packets;
    [(keys[0], a, ivs[0], 5), (keys[1], b, ivs[1], 6)].map(|(keys, packet, iv, trailer)| stitched::Task {
        keys,
        packet,
        clear: 12,
        iv,
        trailer,
    })
}

/// The same of two packets at a time, in registers of either width.
#[cfg(target_arch = "x86_64")]
#[test]
fn two_packets_agree_with_the_other_engine() {
    use stitched::{encrypt_then_tag_two, tag_and_decrypt_two};

    let keys: [Vec<u8>; 2] = [(7..39).collect(), (57..73).collect()];
    let auth: Vec<u8> = (100..120).collect();
    let made = keys.each_ref().map(|key| stitched::Keys::new(key, &auth));
    let [Some(long), Some(short)] = &made else {
        return; // as above
    };
    let narrow = [long.narrow(), short.narrow()];
    let portable = keys.each_ref().map(|key| portable::Keys::new(key, &auth).unwrap());
    let ivs = [0x0123_4567_89ab_cdef_fedc_ba98_7654_0000, 0xaaaa_0000];
    let packet = |length: usize| -> Vec<u8> { (0..length).map(|place| (place * 7) as u8).collect() };
    let lengths = (12..260).step_by(3).chain([1500, 9000]);
    for (length, other) in lengths.flat_map(|length| [172, 100, 1500].map(|other| (length, other))) {
        for (a, b) in [(0, 1), (1, 0), (0, 0), (1, 1)] {
            let plain = [packet(length), packet(other)];
            let mut expected = plain.clone();
            let [expected_a, expected_b] = &mut expected;
            let tags = [
                portable[a].encrypt_then_tag(expected_a, 12, ivs[0], 5),
                portable[b].encrypt_then_tag(expected_b, 12, ivs[1], 6),
            ];
            for keys in [[long, short], [&narrow[0], &narrow[1]]] {
                let mut packets = plain.clone();
                let keys = [keys[a], keys[b]];
                assert_eq!(encrypt_then_tag_two(tasks(keys, &mut packets, ivs)), tags);
                assert!(packets == expected, "{length} {other} {a} {b}");
                assert_eq!(tag_and_decrypt_two(tasks(keys, &mut packets, ivs)), tags);
                assert!(packets == plain, "{length} {other} {a} {b}");
            }
        }
    }
}

#[test]
fn packets_without_a_payload_and_with_an_identifier() {
    for suite in Suite::ALL {
        for mki in [None, Mki::new(1, 1), Mki::new(0x0102_0304, 4)] {
            let (mut outbound, mut inbound) = pair(&Keying::random(suite, mki));
            for (kind, packet) in [
                (Kind::Rtp, rtp(1, 9, &[])),
                (Kind::Rtcp, vec![0x80, 201, 0, 1, 0, 0, 0, 9]),
            ] {
                let protected = protect(&mut outbound, kind, &packet).unwrap();
                assert!(protected.len() <= packet.len() + MAX_OVERHEAD);
                assert_eq!(unprotect(&mut inbound, kind, &protected), Ok(packet));
            }
        }
    }
}

#[test]
fn another_identifier_is_refused() {
    for suite in Suite::ALL {
        let keying = Keying::random(suite, Mki::new(1, 2));
        let inline = keying.inline();
        let other = Keying::from_inline(suite, &inline, Mki::new(2, 2)).unwrap();
        let (mut outbound, _) = pair(&keying);
        let (_, mut inbound) = pair(&other);
        for (kind, packet) in [
            (Kind::Rtp, rtp(1, 9, &[1; 20])),
            (Kind::Rtcp, vec![0x80, 201, 0, 1, 0, 0, 0, 9]),
        ] {
            let protected = protect(&mut outbound, kind, &packet).unwrap();
            assert_eq!(unprotect(&mut inbound, kind, &protected), Err(Refusal::Mki));
        }
    }
}

#[test]
fn a_sequence_number_is_protected_once() {
    let (mut outbound, mut inbound) = pair(&Keying::random(Suite::AesCm128HmacSha1Tag80, None));
    let first = protect(&mut outbound, Kind::Rtp, &rtp(1, 9, &[1; 160])).unwrap();
    assert_eq!(
        protect(&mut outbound, Kind::Rtp, &rtp(1, 9, &[2; 160])),
        Err(Refusal::Replayed)
    );
    assert!(unprotect(&mut inbound, Kind::Rtp, &first).is_ok());
    assert_eq!(unprotect(&mut inbound, Kind::Rtp, &first), Err(Refusal::Replayed));
    let mut short = rtp(2, 9, &[3; 160]);
    assert_eq!(outbound.protect(Kind::Rtp, &mut short, 172), Err(Refusal::NoRoom));
    assert_eq!(short, rtp(2, 9, &[3; 160]));
}

#[test]
fn reports_that_are_not_encrypted_are_refused() {
    for suite in Suite::ALL {
        let (mut outbound, mut inbound) = pair(&Keying::random(suite, None));
        let mut report = protect(&mut outbound, Kind::Rtcp, &[0x80, 201, 0, 1, 0, 0, 0, 9]).unwrap();
        let flag = match suite {
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => report.len() - 4,
            _ => report.len() - 14,
        };
        report[flag] &= 0x7f;
        assert_eq!(unprotect(&mut inbound, Kind::Rtcp, &report), Err(Refusal::Unencrypted));
    }
}
