//! Whole packets: those that are published, what any change to them does, and the two engines beside each other.

use proptest::prelude::*;

use super::derive::SessionKeys;
use super::packet::Layout;
use super::transform::Transform;
use super::*;

/// Bytes of hexadecimal digits.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// A packet in a buffer with room, protected; its bytes.
fn protect(outbound: &mut Outbound, kind: Kind, packet: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + MAX_OVERHEAD, 0);
    let length = outbound.protect(kind, &mut buffer, packet.len())?;
    buffer.truncate(length);
    Ok(buffer)
}

fn unprotect(inbound: &mut Inbound, kind: Kind, packet: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut buffer = packet.to_vec();
    let length = inbound.unprotect(kind, &mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

fn pair(keying: &Keying) -> (Outbound, Inbound) {
    (Outbound::new(keying).unwrap(), Inbound::new(keying).unwrap())
}

fn rtp(sequence: u16, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 0, 0, 0, 0, 0, 0, 0];
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}

/// Those with which libsrtp tests itself (srtp_driver.c), whose keys are of RFC 3711 appendix B.3 and RFC 6188 section 7.2.
#[test]
fn packets_of_counter_mode() {
    let plain_rtp = "800f1234decafbadcafebabe abababababababababababababababab";
    let plain_rtcp = "81c8000bcafebabe abababababababababababababababab";
    let key = "e1f97a0d3e018be0d64fa32c06de4139 0ec675ad498afeebb6960b3aabe6";
    let long_key = "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6 3b04803de51ee7c96423ab5b78d2";
    let vectors = [
        (
            Suite::AesCm128HmacSha1Tag80,
            key,
            Kind::Rtp,
            plain_rtp,
            "800f1234decafbadcafebabe 4e55dc4ce79978d88ca4d215949d2402 b78d6acc99ea179b8dbb",
        ),
        (
            Suite::AesCm128HmacSha1Tag32,
            key,
            Kind::Rtp,
            plain_rtp,
            "800f1234decafbadcafebabe 4e55dc4ce79978d88ca4d215949d2402 b78d6acc",
        ),
        (
            Suite::AesCm128HmacSha1Tag80,
            key,
            Kind::Rtcp,
            plain_rtcp,
            "81c8000bcafebabe 7128035be487b9bdbef89041f977a5a8 80000001 993e08cd54d6c1230798",
        ),
        (
            Suite::AesCm128HmacSha1Tag32,
            key,
            Kind::Rtcp,
            plain_rtcp,
            "81c8000bcafebabe 7128035be487b9bdbef89041f977a5a8 80000001 993e08cd54d6c1230798",
        ),
        (
            Suite::Aes256CmHmacSha1Tag80,
            long_key,
            Kind::Rtp,
            plain_rtp,
            "800f1234decafbadcafebabe f1d9de17ff251ff1aa007774b0b4b40d a08d9d9a5b3a55d8873b",
        ),
    ];
    for (suite, key, kind, plain, protected) in vectors {
        let keying = Keying::from_bytes(suite, &hex(key), None).unwrap();
        let (mut outbound, mut inbound) = pair(&keying);
        let got = protect(&mut outbound, kind, &hex(plain)).unwrap();
        assert_eq!(got, hex(protected), "{suite} {kind:?}");
        assert_eq!(unprotect(&mut inbound, kind, &got), Ok(hex(plain)));
    }
}

/// RFC 7714 sections 16.1.1, 16.2.1, 17.1 and 17.2, which give the keys of the session.
#[test]
fn packets_of_galois_counter_mode() {
    let plain_rtp =
        "8040f17b8041f8d35501a0b2 47616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573";
    let plain_rtcp =
        "81c8000d4d617273 4e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef";
    let index = 0x5d4;
    let vectors = [
        (
            Suite::AeadAes128Gcm,
            Kind::Rtp,
            plain_rtp,
            "8040f17b8041f8d35501a0b2 f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833
             899d7f27beb16a9152cf765ee4390cce",
        ),
        (
            Suite::AeadAes256Gcm,
            Kind::Rtp,
            plain_rtp,
            "8040f17b8041f8d35501a0b2 32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b
             7aa3db36dfffd6b0f9bb7878d7a76c13",
        ),
        (
            Suite::AeadAes128Gcm,
            Kind::Rtcp,
            plain_rtcp,
            "81c8000d4d617273 63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275b
             c84aa45896cf4d2fc5abf87245d9eade 800005d4",
        ),
        (
            Suite::AeadAes256Gcm,
            Kind::Rtcp,
            plain_rtcp,
            "81c8000d4d617273 d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de0476f1b6fad
             1d1eb30c4446839f57ff6f6cb26ac3be 800005d4",
        ),
    ];
    for (suite, kind, plain, protected) in vectors {
        let keys = SessionKeys::given(
            &(0..suite.key_len() as u8).collect::<Vec<u8>>(),
            &[0; 20],
            &hex("517569642070726f2071756f"),
        );
        let transform = Transform::of_session(suite, kind, &keys, None).unwrap();
        let plain = hex(plain);
        let layout = Layout::of(kind, &plain).unwrap();
        let index = match kind {
            Kind::Rtp => layout.sequence.into(),
            Kind::Rtcp => index,
        };
        let mut buffer = plain.clone();
        buffer.resize(plain.len() + MAX_OVERHEAD, 0);
        let length = transform.protect(&mut buffer, plain.len(), layout, index).unwrap();
        assert_eq!(buffer[..length], hex(protected), "{suite} {kind:?}");
        let sealed = transform.sealed(&buffer[..length]).unwrap();
        let length = transform.unprotect(&mut buffer[..length], sealed, index).unwrap();
        assert_eq!(buffer[..length], plain);
    }
}

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

#[test]
fn a_new_key_begins_anew_and_the_same_key_goes_on() {
    let suite = Suite::AesCm128HmacSha1Tag80;
    let keys = SrtpKeys {
        receive: Keying::random(suite, None),
        send: Keying::random(suite, None),
    };
    let mut ours = Srtp::new(&keys).unwrap();
    let (mut theirs, _) = pair(&keys.receive);
    // Past a wrap, which only the rollover counter knows of.
    for sequence in [65_534, 65_535, 0, 1] {
        let packet = protect(&mut theirs, Kind::Rtp, &rtp(sequence, 9, &[1; 20])).unwrap();
        assert!(unprotect(&mut ours.inbound, Kind::Rtp, &packet).is_ok());
    }
    let send = Keying::random(suite, None);
    ours.rekey(&SrtpKeys {
        send: send.clone(),
        ..keys.clone()
    })
    .unwrap();
    let packet = protect(&mut theirs, Kind::Rtp, &rtp(2, 9, &[1; 20])).unwrap();
    assert!(unprotect(&mut ours.inbound, Kind::Rtp, &packet).is_ok());

    let receive = Keying::random(suite, None);
    ours.rekey(&SrtpKeys {
        receive: receive.clone(),
        send,
    })
    .unwrap();
    let packet = protect(&mut theirs, Kind::Rtp, &rtp(3, 9, &[1; 20])).unwrap();
    assert_eq!(
        unprotect(&mut ours.inbound, Kind::Rtp, &packet),
        Err(Refusal::Authentication)
    );
    let (mut theirs, _) = pair(&receive);
    let packet = protect(&mut theirs, Kind::Rtp, &rtp(3, 9, &[1; 20])).unwrap();
    assert!(unprotect(&mut ours.inbound, Kind::Rtp, &packet).is_ok());
}

/// Packets of every shape, some of them copies or with a wrong bit.
fn any_packets() -> impl Strategy<Value = Vec<(Kind, Vec<u8>)>> {
    let packet = (0u16..40, 0usize..400, 0usize..16, any::<u8>(), any::<bool>()).prop_map(
        |(sequence, length, contributors, fill, is_rtp)| match is_rtp {
            true => {
                let mut packet = rtp(sequence, u32::from(fill % 3), &vec![fill; 4 * contributors + length]);
                packet[0] |= contributors as u8;
                (Kind::Rtp, packet)
            }
            false => {
                let mut packet = vec![0x80, 200, 0, 6, 1, 2, 3, 4];
                packet.resize(8 + length, fill);
                (Kind::Rtcp, packet)
            }
        },
    );
    prop::collection::vec(packet, 1..20)
}

fn any_suite() -> impl Strategy<Value = Suite> {
    prop::sample::select(&Suite::ALL[..])
}

proptest! {
    /// Packets of every shape come back as they were, and not if a bit of them is another.
    #[test]
    fn round_trip_and_any_bit(
        suite in any_suite(),
        contributors in 0u8..16,
        payload in prop::collection::vec(any::<u8>(), 0..400),
        sequence in any::<u16>(),
        bit in any::<prop::sample::Index>(),
    ) {
        let (mut outbound, mut inbound) = pair(&Keying::random(suite, None));
        let mut packet = rtp(sequence, 0xcafe_babe, &vec![0; 4 * usize::from(contributors)]);
        packet[0] |= contributors;
        packet.extend(&payload);
        let protected = protect(&mut outbound, Kind::Rtp, &packet).unwrap();
        let mut wrong = protected.clone();
        let bit = bit.index(8 * wrong.len());
        wrong[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(unprotect(&mut inbound, Kind::Rtp, &wrong).is_err());
        prop_assert_eq!(unprotect(&mut inbound, Kind::Rtp, &protected), Ok(packet));
    }

    /// A report comes back as it was, and not if a bit of it is another.
    #[test]
    fn reports_too(
        suite in any_suite(),
        body in prop::collection::vec(any::<u8>(), 0..200),
        bit in any::<prop::sample::Index>(),
    ) {
        let (mut outbound, mut inbound) = pair(&Keying::random(suite, None));
        let mut packet = vec![0x80, 200, 0, 6, 1, 2, 3, 4];
        packet.extend(body);
        let protected = protect(&mut outbound, Kind::Rtcp, &packet).unwrap();
        let mut wrong = protected.clone();
        let bit = bit.index(8 * wrong.len());
        wrong[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(unprotect(&mut inbound, Kind::Rtcp, &wrong).is_err());
        prop_assert_eq!(unprotect(&mut inbound, Kind::Rtcp, &protected), Ok(packet));
    }

    /// A stream with losses, late packets and copies, over many wraps of its sequence number: each genuine packet is taken
    /// once.
    #[test]
    fn a_stream_over_wraps(
        suite in any_suite(),
        start in any::<u16>(),
        steps in prop::collection::vec((1u16..9000, 0usize..60), 1..60),
    ) {
        let (mut outbound, mut inbound) = pair(&Keying::random(suite, None));
        let mut sequence = start;
        let mut sent = vec![];
        for (ahead, _) in &steps {
            // Groups of packets close to each other, and then a gap.
            for _ in 0..3 {
                sent.push(protect(&mut outbound, Kind::Rtp, &rtp(sequence, 5, &sequence.to_be_bytes())).unwrap());
                sequence = sequence.wrapping_add(1);
            }
            sequence = sequence.wrapping_add(*ahead);
        }
        for (group, (_, order)) in sent.chunks_mut(3).zip(&steps) {
            group.rotate_left(order % 3);
            for packet in &*group {
                // The first packets of a stream may come before its beginning.
                let got = unprotect(&mut inbound, Kind::Rtp, packet);
                prop_assert!(got.is_ok() || got == Err(Refusal::Replayed) && start > 65_000, "{:?}", got);
            }
            for packet in &*group {
                prop_assert!(unprotect(&mut inbound, Kind::Rtp, packet).is_err());
            }
        }
    }

    /// Two at a time comes to the same as one after the other: packets, refusals, and where the streams are then.
    #[test]
    fn two_packets_at_a_time_are_as_one_after_the_other(
        suites in [any_suite(), any_suite()],
        mki in any::<bool>(),
        rows in [any_packets(), any_packets()],
        wrong in prop::collection::vec(prop::option::weighted(0.2, any::<prop::sample::Index>()), 40),
        room in prop::collection::vec(prop::sample::select(vec![MAX_OVERHEAD, MAX_OVERHEAD, 3]), 40),
    ) {
        let keyings = suites.map(|suite| Keying::random(suite, Mki::new(7, 2).filter(|_| mki)));
        let [(mut out_a, mut in_a), (mut out_b, mut in_b)] = [pair(&keyings[0]), pair(&keyings[1])];
        let mut alone = [pair(&keyings[0]), pair(&keyings[1])];
        let mut marks = wrong.iter().zip(&room);
        for (a, b) in rows[0].iter().zip(&rows[1]) {
            let expected: Vec<_> = [a, b].into_iter().zip(&mut alone).zip(marks.by_ref()).map(|((packet, alone), marks)| {
                let (kind, bytes) = packet;
                let mut buffer = bytes.clone();
                buffer.resize(bytes.len() + marks.1, 0);
                let before = buffer.clone();
                let protected = alone.0.protect(*kind, &mut buffer, bytes.len());
                let mut arrives = buffer[..protected.unwrap_or(bytes.len())].to_vec();
                if let Some(index) = marks.0 {
                    let place = index.index(arrives.len());
                    arrives[place] ^= 4;
                }
                let arrived = arrives.clone();
                let unprotected = alone.1.unprotect(*kind, &mut arrives);
                (*kind, bytes.len(), before, buffer, protected, arrived, arrives, unprotected)
            }).collect();
            let [a, b] = expected.as_slice() else { continue };
            let mut buffers = [a.2.clone(), b.2.clone()];
            let [buffer_a, buffer_b] = &mut buffers;
            let protected = protect_two([
                Outgoing { outbound: &mut out_a, kind: a.0, buffer: buffer_a, length: a.1 },
                Outgoing { outbound: &mut out_b, kind: b.0, buffer: buffer_b, length: b.1 },
            ]);
            prop_assert_eq!(protected, [a.4, b.4]);
            prop_assert_eq!(buffers, [a.3.clone(), b.3.clone()]);
            let mut packets = [a.5.clone(), b.5.clone()];
            let [packet_a, packet_b] = &mut packets;
            let unprotected = unprotect_two([
                Incoming { inbound: &mut in_a, kind: a.0, packet: packet_a },
                Incoming { inbound: &mut in_b, kind: b.0, packet: packet_b },
            ]);
            prop_assert_eq!(unprotected, [a.7, b.7]);
            for (packet, (expected, unprotected)) in packets.iter().zip([(&a.6, a.7), (&b.6, b.7)]) {
                if let Ok(length) = unprotected {
                    prop_assert_eq!(&packet[..length], &expected[..length]);
                }
            }
        }
    }

    /// Nothing that arrives is too strange.
    #[test]
    fn garbage_is_refused(suite in any_suite(), bytes in prop::collection::vec(any::<u8>(), 0..200), first in any::<[u8; 2]>()) {
        let (mut outbound, mut inbound) = pair(&Keying::random(suite, Mki::new(1, 1)));
        let mut bytes = bytes;
        for (to, from) in bytes.iter_mut().zip([0x80 | first[0] & 0x3f, first[1]]) {
            *to = from;
        }
        for kind in [Kind::Rtp, Kind::Rtcp] {
            prop_assert!(unprotect(&mut inbound, kind, &bytes).is_err());
            let _ = protect(&mut outbound, kind, &bytes);
        }
    }
}
