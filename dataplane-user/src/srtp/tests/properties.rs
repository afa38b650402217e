//! Packets of every shape, and what any change to them does.

use proptest::prelude::*;

use super::*;

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

/// Two packets protected at a time; those that are refused by themselves.
fn protect_both(outbounds: [&mut Outbound; 2], packets: [(Kind, &[u8]); 2]) -> [Result<Vec<u8>, Refusal>; 2] {
    let [out_a, out_b] = outbounds;
    let [(kind_a, a), (kind_b, b)] = packets;
    let mut buffers = [a, b].map(|packet| [packet, &[0; MAX_OVERHEAD]].concat());
    let [buffer_a, buffer_b] = &mut buffers;
    let lengths = match (out_a.begin(kind_a, a), out_b.begin(kind_b, b)) {
        (Ok(a), Ok(b)) => finish_two([
            Outgoing {
                outbound: out_a,
                begun: a,
                buffer: buffer_a,
            },
            Outgoing {
                outbound: out_b,
                begun: b,
                buffer: buffer_b,
            },
        ]),
        (a, b) => [
            a.and_then(|begun| out_a.finish(begun, buffer_a)),
            b.and_then(|begun| out_b.finish(begun, buffer_b)),
        ],
    };
    let mut place = 0;
    buffers.map(|mut buffer| {
        let length = lengths[place];
        place += 1;
        length.map(|length| {
            buffer.truncate(length);
            buffer
        })
    })
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
    ) {
        let keyings = suites.map(|suite| Keying::random(suite, Mki::new(7, 2).filter(|_| mki)));
        let [(mut out_a, mut in_a), (mut out_b, mut in_b)] = [pair(&keyings[0]), pair(&keyings[1])];
        let mut alone = [pair(&keyings[0]), pair(&keyings[1])];
        let mut wrong = wrong.iter();
        for (a, b) in rows[0].iter().zip(&rows[1]) {
            let expected = [a, b].map(|(kind, packet)| (*kind, packet.as_slice()));
            let [alone_a, alone_b] = &mut alone;
            let protected = [
                protect(&mut alone_a.0, expected[0].0, expected[0].1),
                protect(&mut alone_b.0, expected[1].0, expected[1].1),
            ];
            let together = protect_both([&mut out_a, &mut out_b], expected);
            prop_assert_eq!(&together, &protected);

            let mut arrive = [a, b].map(|(_, packet)| packet.clone());
            for ((packet, protected), wrong) in arrive.iter_mut().zip(protected).zip(wrong.by_ref()) {
                *packet = protected.unwrap_or_else(|_| packet.clone());
                if let Some(index) = wrong {
                    let place = index.index(packet.len());
                    packet[place] ^= 4;
                }
            }
            let unprotected = [
                unprotect(&mut alone_a.1, a.0, &arrive[0]),
                unprotect(&mut alone_b.1, b.0, &arrive[1]),
            ];
            let [packet_a, packet_b] = &mut arrive;
            let together = unprotect_two([
                Incoming { inbound: &mut in_a, kind: a.0, packet: packet_a },
                Incoming { inbound: &mut in_b, kind: b.0, packet: packet_b },
            ]);
            for ((packet, together), unprotected) in arrive.iter().zip(together).zip(unprotected) {
                prop_assert_eq!(together.map(|length| packet[..length].to_vec()), unprotected);
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
