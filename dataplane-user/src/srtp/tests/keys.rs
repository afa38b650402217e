//! A key that ends, and the one after it.

use std::num::NonZeroU64;

use super::*;

/// A far end, and our side of its leg.
struct Leg {
    keys: SrtpKeys,
    ours: Srtp,
    theirs: Outbound,
}

impl Leg {
    fn new(suite: Suite) -> Self {
        let keys = SrtpKeys {
            receive: Keying::random(suite, None),
            send: Keying::random(suite, None),
        };
        Self {
            ours: Srtp::new(&keys).unwrap(),
            theirs: pair(&keys.receive).0,
            keys,
        }
    }

    fn packet(&mut self, sequence: u16) -> Vec<u8> {
        protect(&mut self.theirs, Kind::Rtp, &rtp(sequence, 9, &[1; 160])).unwrap()
    }

    fn arrives(&mut self, packet: &[u8]) -> Result<Vec<u8>, Refusal> {
        unprotect(&mut self.ours.inbound, Kind::Rtp, packet)
    }

    /// The far end has another key.
    fn rekey(&mut self, receive: Keying) {
        self.theirs = pair(&receive).0;
        self.keys.receive = receive;
        self.ours.rekey(&self.keys).unwrap();
    }
}

#[test]
fn the_same_key_goes_on_where_it_is() {
    let mut leg = Leg::new(Suite::AesCm128HmacSha1Tag80);
    // Past a wrap, which only the rollover counter knows of.
    for sequence in [65_534, 65_535, 0, 1] {
        let packet = leg.packet(sequence);
        assert!(leg.arrives(&packet).is_ok());
    }
    leg.keys.send = Keying::random(Suite::AesCm128HmacSha1Tag80, None);
    leg.ours.rekey(&leg.keys).unwrap();
    assert!(!leg.ours.inbound.remembers());
    let packet = leg.packet(2);
    assert!(leg.arrives(&packet).is_ok());
}

#[test]
fn what_is_on_its_way_under_the_key_before_is_taken_until_one_under_the_new_key_has_come() {
    for (before, after) in Suite::ALL.into_iter().zip(Suite::ALL.into_iter().cycle().skip(1)) {
        let mut leg = Leg::new(before);
        let old: Vec<_> = (65_530..=u16::MAX)
            .chain(0..6)
            .map(|sequence| leg.packet(sequence))
            .collect();
        for packet in &old[..6] {
            assert!(leg.arrives(packet).is_ok(), "{before}");
        }
        leg.rekey(Keying::random(after, None));
        // Late, out of order, and past the wrap that only the old rollover counter knows of.
        for place in [8, 6, 9, 7] {
            let plain = rtp(65_530_u16.wrapping_add(place), 9, &[1; 160]);
            assert_eq!(leg.arrives(&old[usize::from(place)]), Ok(plain), "{before}");
        }
        assert_eq!(leg.arrives(&old[8]), Err(Refusal::Replayed));
        let mut wrong = old[10].clone();
        wrong[60] ^= 1;
        assert_eq!(leg.arrives(&wrong), Err(Refusal::Authentication));
        assert!(leg.ours.inbound.remembers());

        let new = leg.packet(4);
        assert_eq!(leg.arrives(&new), Ok(rtp(4, 9, &[1; 160])), "{after}");
        assert!(!leg.ours.inbound.remembers());
        for packet in &old[10..] {
            assert!(leg.arrives(packet).is_err());
        }
        assert_eq!(leg.arrives(&new), Err(Refusal::Replayed));
    }
}

#[test]
fn a_key_that_is_forgotten_is_taken_no_longer() {
    let mut leg = Leg::new(Suite::AesCm128HmacSha1Tag80);
    let old = leg.packet(1);
    leg.rekey(Keying::random(Suite::AesCm128HmacSha1Tag80, None));
    leg.ours.inbound.forget();
    assert_eq!(leg.arrives(&old), Err(Refusal::Authentication));
    let new = leg.packet(1);
    assert!(leg.arrives(&new).is_ok());
}

#[test]
fn pairs_are_taken_in_that_time_too() {
    let mut legs = [(); 2].map(|()| Leg::new(Suite::AesCm128HmacSha1Tag80));
    let [a, b] = &mut legs;
    let (mut old, mut other) = (a.packet(1), b.packet(1));
    a.rekey(Keying::random(Suite::AesCm128HmacSha1Tag80, None));
    let taken = unprotect_two(
        [(&mut a.ours.inbound, &mut old), (&mut b.ours.inbound, &mut other)].map(|(inbound, packet)| Incoming {
            inbound,
            kind: Kind::Rtp,
            packet,
        }),
    );
    assert_eq!(taken, [Ok(172), Ok(172)]);
    assert!(a.ours.inbound.remembers());
}

#[test]
fn a_declared_lifetime_ends_a_key() {
    for suite in Suite::ALL {
        let mut leg = Leg::new(suite);
        let limited = leg.keys.receive.clone().with_lifetime(NonZeroU64::new(3));
        // The same key: what has come before counts.
        let first = leg.packet(1);
        assert!(leg.arrives(&first).is_ok());
        leg.keys.receive = limited;
        leg.ours.rekey(&leg.keys).unwrap();
        assert!(!leg.ours.inbound.remembers());
        for sequence in [2, 3] {
            let packet = leg.packet(sequence);
            // What is not genuine does not count.
            let mut wrong = packet.clone();
            wrong[60] ^= 1;
            assert_eq!(leg.arrives(&wrong), Err(Refusal::Authentication));
            assert!(leg.arrives(&packet).is_ok());
        }
        let packet = leg.packet(4);
        assert_eq!(leg.arrives(&packet), Err(Refusal::KeyExhausted));
        let report = protect(&mut leg.theirs, Kind::Rtcp, &[0x80, 201, 0, 1, 0, 0, 0, 9]).unwrap();
        assert_eq!(
            unprotect(&mut leg.ours.inbound, Kind::Rtcp, &report),
            Err(Refusal::KeyExhausted)
        );
        leg.rekey(Keying::random(suite, None));
        let packet = leg.packet(5);
        assert!(leg.arrives(&packet).is_ok());
    }
}

#[test]
fn a_place_is_of_one_key() {
    for suite in Suite::ALL {
        let mut leg = Leg::new(suite);
        let packet = rtp(1, 9, &[1; 160]);
        let mut buffer = packet.clone();
        buffer.resize(172 + MAX_OVERHEAD, 0);
        let begun = leg.ours.outbound.begin(Kind::Rtp, &packet).unwrap();
        assert_eq!(
            leg.ours.outbound.begin(Kind::Rtp, &packet).unwrap_err(),
            Refusal::Replayed
        );
        leg.keys.send = Keying::random(suite, None);
        leg.ours.rekey(&leg.keys).unwrap();
        assert_eq!(leg.ours.outbound.finish(begun, &mut buffer), Err(Refusal::KeyExhausted));
        assert_eq!(buffer[..172], packet);
        let begun = leg.ours.outbound.begin(Kind::Rtp, &packet).unwrap();
        assert_eq!(
            leg.ours.outbound.finish(begun, &mut buffer[..174]),
            Err(Refusal::NoRoom)
        );
    }
}
