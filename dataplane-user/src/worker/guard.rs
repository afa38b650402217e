//! The protection of a leg's wire: what its SRTP contexts are, and what they have refused.
//!
//! It belongs to the leg's sockets and goes where they go, so that whoever carries the leg next goes on in the same sequence
//! under the same keys.

use std::time::Duration;

use crate::srtp::{Begun, Inbound, Incoming, Kind, Outbound, Refusal, Srtp, SrtpKeys, unprotect_two};

/// How long packets under the key before a change are taken, if none under the new one has come.
const GRACE: Duration = Duration::from_secs(1);

/// SRTP on a leg's wire, or none.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    protection: Option<Box<Protection>>,
    refused: [u64; Refusal::COUNT],
}

#[derive(Debug)]
struct Protection {
    /// `None` if the keys that were agreed cannot be used: nothing passes then, least of all in clear.
    srtp: Option<Srtp>,
    /// When the key before is taken no longer.
    grace_ends: Duration,
}

/// How packets of a wire are protected, and rid of their protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// They are not.
    Clear,
    /// By themselves.
    Alone,
    /// Together with those of another wire, where there are any at hand: that is faster.
    Pairs,
}

impl Guard {
    /// From now on with these keys, or without. A direction whose key stays the same goes on where it is.
    pub(super) fn set_keys(&mut self, keys: Option<&SrtpKeys>, now: Duration) {
        let Some(keys) = keys else {
            self.protection = None;
            return;
        };
        if let Some(Protection {
            srtp: Some(srtp),
            grace_ends,
        }) = self.protection.as_deref_mut()
        {
            let is_other = !srtp.inbound.has_key(&keys.receive);
            if srtp.rekey(keys).is_some() {
                if is_other {
                    *grace_ends = now + GRACE;
                }
                return;
            }
        }
        let srtp = Srtp::new(keys);
        if srtp.is_none() {
            tracing::error!(?keys, "SRTP keys are not of their suite's length: the leg is mute");
        }
        self.protection = Some(Box::new(Protection {
            srtp,
            grace_ends: Duration::ZERO,
        }));
    }

    /// What is done to packets that arrive.
    pub(super) fn opens(&self) -> Manner {
        self.manner(|srtp| srtp.inbound.is_faster_in_pairs())
    }

    /// What is done to packets that leave.
    pub(super) fn seals(&self) -> Manner {
        self.manner(|srtp| srtp.outbound.is_faster_in_pairs())
    }

    fn manner(&self, pairs: impl FnOnce(&Srtp) -> bool) -> Manner {
        match self.protection.as_deref() {
            None => Manner::Clear,
            Some(Protection { srtp: Some(srtp), .. }) if pairs(srtp) => Manner::Pairs,
            Some(_) => Manner::Alone,
        }
    }

    /// Takes the protection off a packet that has arrived; its length then.
    ///
    /// # Errors
    /// It is not to be used; it is counted.
    pub(super) fn unprotect(&mut self, kind: Kind, packet: &mut [u8], now: Duration) -> Result<usize, Refusal> {
        if self.protection.is_none() {
            return Ok(packet.len());
        }
        let taken = match self.inbound(now) {
            Some(inbound) => inbound.unprotect(kind, packet),
            None => Err(Refusal::Authentication),
        };
        self.counted(taken)
    }

    /// [`Self::unprotect`] of packets of two wires.
    pub(super) fn unprotect_two(
        [(a, kind_a, packet_a), (b, kind_b, packet_b)]: [(&mut Self, Kind, &mut [u8]); 2],
        now: Duration,
    ) -> [Result<usize, Refusal>; 2] {
        let (Some(inbound_a), Some(inbound_b)) = (a.inbound(now), b.inbound(now)) else {
            return [a.unprotect(kind_a, packet_a, now), b.unprotect(kind_b, packet_b, now)];
        };
        let [taken_a, taken_b] = unprotect_two([
            Incoming {
                inbound: inbound_a,
                kind: kind_a,
                packet: packet_a,
            },
            Incoming {
                inbound: inbound_b,
                kind: kind_b,
                packet: packet_b,
            },
        ]);
        [a.counted(taken_a), b.counted(taken_b)]
    }

    /// Protects the packet in the first `length` bytes of `buffer`, in place; its length then.
    ///
    /// # Errors
    /// It is not to be sent; it is counted.
    pub(super) fn protect(&mut self, kind: Kind, buffer: &mut [u8], length: usize) -> Result<usize, Refusal> {
        let Some(protection) = self.protection.as_deref_mut() else {
            return Ok(length);
        };
        let protected = match &mut protection.srtp {
            Some(srtp) => srtp.outbound.protect(kind, buffer, length),
            None => Err(Refusal::Authentication),
        };
        self.counted(protected)
    }

    /// Gives a packet its place in its stream, under which it is to be protected by [`Self::outbound`].
    ///
    /// # Errors
    /// It is not to be sent; it is counted.
    pub(super) fn begin(&mut self, kind: Kind, packet: &[u8]) -> Result<Begun, Refusal> {
        let srtp = self.protection.as_deref_mut().and_then(|there| there.srtp.as_mut());
        let begun = match srtp {
            Some(srtp) => srtp.outbound.begin(kind, packet),
            None => Err(Refusal::Authentication),
        };
        self.counted(begun)
    }

    /// What protects packets that leave, if anything does.
    pub(super) fn outbound(&self) -> Option<&Outbound> {
        let srtp = self.protection.as_deref()?.srtp.as_ref()?;
        Some(&srtp.outbound)
    }

    /// What takes the protection off packets that arrive, if anything does.
    fn inbound(&mut self, now: Duration) -> Option<&mut Inbound> {
        let Protection { srtp, grace_ends } = self.protection.as_deref_mut()?;
        let inbound = &mut srtp.as_mut()?.inbound;
        if inbound.remembers() && now >= *grace_ends {
            inbound.forget();
        }
        Some(inbound)
    }

    /// Packets refused so far, in the order of [`Refusal::ALL`].
    pub(super) fn refused(&self) -> &[u64; Refusal::COUNT] {
        &self.refused
    }

    fn counted<T>(&mut self, done: Result<T, Refusal>) -> Result<T, Refusal> {
        done.inspect_err(|refusal| self.refused[refusal.index()] += 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::{Keying, MAX_OVERHEAD, Suite};

    fn keys() -> SrtpKeys {
        let keying = || Keying::random(Suite::AesCm128HmacSha1Tag80, None);
        SrtpKeys {
            receive: keying(),
            send: keying(),
        }
    }

    /// A packet as the far end sends it.
    fn packet(theirs: &mut Outbound, sequence: u8) -> Vec<u8> {
        let mut packet = vec![0x80, 0, 0, sequence, 0, 0, 0, 0, 0, 0, 0, 9];
        packet.resize(172 + MAX_OVERHEAD, 0);
        let length = theirs.protect(Kind::Rtp, &mut packet, 172).unwrap();
        packet.truncate(length);
        packet
    }

    #[test]
    fn the_key_before_is_taken_for_a_second_at_most() {
        let second = Duration::from_secs(1);
        for (after, taken) in [(second / 2, Ok(172)), (second, Err(Refusal::Authentication))] {
            let first = keys();
            let mut theirs = Outbound::new(&first.receive).unwrap();
            let mut guard = Guard::default();
            guard.set_keys(Some(&first), second);
            assert_eq!(guard.unprotect(Kind::Rtp, &mut packet(&mut theirs, 1), second), Ok(172));
            let changed = 5 * second;
            guard.set_keys(Some(&keys()), changed);
            let now = changed + after;
            let got = guard.unprotect(Kind::Rtp, &mut packet(&mut theirs, 2), now);
            assert_eq!(got, taken, "{after:?}");
            assert_eq!(
                guard.refused()[Refusal::Authentication.index()],
                u64::from(taken.is_err())
            );
        }
    }

    #[test]
    fn the_same_keys_again_make_that_second_no_longer() {
        let second = Duration::from_secs(1);
        let (first, then) = (keys(), keys());
        let mut theirs = Outbound::new(&first.receive).unwrap();
        let mut guard = Guard::default();
        guard.set_keys(Some(&first), Duration::ZERO);
        guard.set_keys(Some(&then), second);
        guard.set_keys(Some(&then), second + second / 2);
        let got = guard.unprotect(Kind::Rtp, &mut packet(&mut theirs, 2), 2 * second);
        assert_eq!(got, Err(Refusal::Authentication));
    }
}
