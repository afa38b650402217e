//! Nonces that are known again without having been kept.
//!
//! A nonce is the time it was made, some salt, and a keyed hash (HMAC-SHA-256, cut to 128 bits) over both, the realm and
//! the address it was made for. So challenges cost no memory, however many are asked for. What is kept is which nonces
//! have been *used* with good credentials, and with which counts, until they expire: nobody who lacks a password can fill
//! that, and a request that was overheard cannot be sent again.
//!
//! The table is bounded. When it is full its oldest nonce is dropped, and that one and all before it count as expired.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use subtle::ConstantTimeEq;

use crate::time::Time;

/// How long a nonce is good.
pub const LIFETIME: Duration = Duration::from_secs(300);

/// Most used nonces that are kept; some 40 bytes each.
const MOST_USED: usize = 1 << 17;

/// Bytes of time and salt.
const STAMP: usize = 8;
/// Bytes of the hash.
const TAG: usize = 16;
/// Bits of salt.
const SALT: u32 = 16;

/// What nonces are made with. A new one with each start of the process.
#[derive(Clone)]
pub struct NonceKey(hmac::Key);

impl NonceKey {
    /// From 256 random bits.
    pub fn new(random: [u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &random))
    }

    /// A name that the same texts always get, and nobody without the key can foresee: 64 bits in hexadecimal.
    pub(super) fn name(&self, texts: &[&str]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        for text in texts {
            context.update(text.as_bytes());
            context.update(b"\0");
        }
        let tag = context.sign();
        tag.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn tag(&self, stamp: [u8; STAMP], realm: &str, source: IpAddr) -> [u8; TAG] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&stamp);
        match source {
            IpAddr::V4(ip) => context.update(&ip.octets()),
            IpAddr::V6(ip) => context.update(&ip.octets()),
        }
        context.update(realm.as_bytes());
        let mut tag = [0; TAG];
        tag.copy_from_slice(&context.sign().as_ref()[..TAG]);
        tag
    }
}

impl fmt::Debug for NonceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NonceKey(…)")
    }
}

/// Why a nonce is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// Too old, or not ours: made before a restart, for another address, or by somebody else.
    Stale,
    /// It has been used with this count.
    Replayed,
}

/// Makes and checks nonces.
#[derive(Debug)]
pub struct Nonces {
    key: NonceKey,
    used: BTreeMap<u64, Counts>,
    most: usize,
    /// Nonces up to this one are expired.
    horizon: u64,
}

/// Counts that a nonce has been used with: those below a window of 64, and in it those whose bit is set.
#[derive(Clone, Copy, Debug)]
struct Counts {
    highest: u32,
    seen: u64,
}

impl Counts {
    const NONE: Self = Self { highest: 0, seen: 0 };
    const ALL: Self = Self {
        highest: u32::MAX,
        seen: u64::MAX,
    };

    /// Takes a count; false if it was there before, or may have been.
    fn take(&mut self, count: u32) -> bool {
        if count > self.highest {
            let ahead = count - self.highest;
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = count;
            return true;
        }
        let behind = self.highest - count;
        let bit = 1_u64.checked_shl(behind).unwrap_or(0);
        let new = count > 0 && bit != 0 && self.seen & bit == 0;
        self.seen |= bit;
        new
    }
}

impl Nonces {
    /// Made with this key.
    pub fn new(key: NonceKey) -> Self {
        Self {
            key,
            used: BTreeMap::new(),
            most: MOST_USED,
            horizon: 0,
        }
    }

    pub(super) fn key(&self) -> &NonceKey {
        &self.key
    }

    /// A new nonce for somebody at this address.
    pub fn issue(&self, now: Time, salt: u16, realm: &str, source: IpAddr) -> String {
        let stamp = (now.as_micros() << SALT | u64::from(salt)).to_be_bytes();
        let tag = self.key.tag(stamp, realm, source.to_canonical());
        let mut bytes = [0; STAMP + TAG];
        bytes[..STAMP].copy_from_slice(&stamp);
        bytes[STAMP..].copy_from_slice(&tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Uses a nonce that came with good credentials. Without a count (RFC 2069) it is good once.
    ///
    /// # Errors
    /// Why it is not good.
    pub fn take(&mut self, now: Time, nonce: &str, realm: &str, source: IpAddr, count: Option<u32>) -> Result<(), Bad> {
        let stamp = self.stamp(nonce, realm, source).ok_or(Bad::Stale)?;
        let made = Time::from_micros(stamp >> SALT);
        if stamp <= self.horizon || now.since(made) > LIFETIME {
            return Err(Bad::Stale);
        }
        self.expire(now);
        if let Some(counts) = self.used.get_mut(&stamp) {
            let new = count.is_some_and(|count| counts.take(count));
            return if new { Ok(()) } else { Err(Bad::Replayed) };
        }
        if self.used.len() >= self.most
            && let Some((oldest, _)) = self.used.pop_first()
        {
            self.horizon = oldest;
            if stamp <= oldest {
                return Err(Bad::Stale);
            }
        }
        let mut counts = Counts::NONE;
        match count {
            Some(count) if !counts.take(count) => return Err(Bad::Replayed),
            Some(_) => {}
            None => counts = Counts::ALL,
        }
        self.used.insert(stamp, counts);
        Ok(())
    }

    /// Time and salt of a nonce of ours.
    fn stamp(&self, nonce: &str, realm: &str, source: IpAddr) -> Option<u64> {
        let mut bytes = [0; STAMP + TAG];
        let length = URL_SAFE_NO_PAD.decode_slice(nonce, &mut bytes).ok()?;
        if length != bytes.len() {
            return None;
        }
        let (stamp, tag) = bytes.split_first_chunk::<STAMP>()?;
        let own = self.key.tag(*stamp, realm, source.to_canonical());
        bool::from(own.as_slice().ct_eq(tag)).then_some(u64::from_be_bytes(*stamp))
    }

    /// Forgets nonces that are too old to be used again.
    fn expire(&mut self, now: Time) {
        while let Some(entry) = self.used.first_entry()
            && now.since(Time::from_micros(*entry.key() >> SALT)) > LIFETIME
        {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const START: Time = Time::ZERO;

    fn nonces() -> Nonces {
        Nonces::new(NonceKey::new([7; 32]))
    }

    #[test]
    fn a_nonce_is_good_for_its_time_its_realm_and_its_address() {
        let mut nonces = nonces();
        let nonce = nonces.issue(START, 1, "a", HERE);
        assert_eq!(nonce.len(), 32);
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(nonces.take(START, &nonce, "a", HERE, Some(1)), Ok(()));
        assert_eq!(nonces.take(START, &nonce, "a", mapped, Some(2)), Ok(()));
        assert_eq!(nonces.take(START, &nonce, "b", HERE, Some(3)), Err(Bad::Stale));
        let elsewhere = "192.0.2.2".parse().unwrap();
        assert_eq!(nonces.take(START, &nonce, "a", elsewhere, Some(3)), Err(Bad::Stale));
        assert_eq!(nonces.take(START + LIFETIME, &nonce, "a", HERE, Some(3)), Ok(()));
        let late = START + LIFETIME + Duration::from_micros(1);
        assert_eq!(nonces.take(late, &nonce, "a", HERE, Some(4)), Err(Bad::Stale));
        // After a restart.
        let mut later = Nonces::new(NonceKey::new([8; 32]));
        assert_eq!(later.take(START, &nonce, "a", HERE, Some(1)), Err(Bad::Stale));
        for text in ["", "x", &nonce[1..], &format!("{nonce}AAAA")] {
            assert_eq!(nonces.take(START, text, "a", HERE, Some(9)), Err(Bad::Stale), "{text}");
        }
    }

    #[test]
    fn a_nonce_without_count_is_good_once() {
        let mut nonces = nonces();
        let nonce = nonces.issue(START, 1, "a", HERE);
        assert_eq!(nonces.take(START, &nonce, "a", HERE, None), Ok(()));
        for count in [None, Some(1), Some(u32::MAX)] {
            assert_eq!(nonces.take(START, &nonce, "a", HERE, count), Err(Bad::Replayed));
        }
    }

    #[test]
    fn what_is_used_is_kept_within_bounds_and_nothing_comes_back() {
        let mut nonces = Nonces { most: 3, ..nonces() };
        let made: Vec<String> = (0..9)
            .map(|n| nonces.issue(START + Duration::from_secs(n), 0, "a", HERE))
            .collect();
        let now = START + Duration::from_secs(9);
        for nonce in &made {
            let _ = nonces.take(now, nonce, "a", HERE, Some(1));
            assert!(nonces.used.len() <= 3);
        }
        for nonce in &made {
            assert!(nonces.take(now, nonce, "a", HERE, Some(1)).is_err());
        }
        assert_eq!(nonces.take(now, &made[8], "a", HERE, Some(2)), Ok(()));
        // Time empties it.
        let late = now + LIFETIME;
        let fresh = nonces.issue(late, 0, "a", HERE);
        assert_eq!(nonces.take(late, &fresh, "a", HERE, Some(1)), Ok(()));
        assert!(nonces.used.len() <= 1 + usize::from(late.since(START + Duration::from_secs(8)) <= LIFETIME));
    }

    proptest! {
        #[test]
        fn no_count_is_taken_twice_and_few_are_lost(counts in prop::collection::vec(0_u32..200, 0..300)) {
            let mut nonces = nonces();
            let nonce = nonces.issue(START, 1, "a", HERE);
            let mut taken = HashSet::new();
            for count in counts {
                let highest = taken.iter().copied().max().unwrap_or(0);
                let good = nonces.take(START, &nonce, "a", HERE, Some(count)).is_ok();
                let new = count > 0 && !taken.contains(&count);
                prop_assert!(new || !good);
                prop_assert!(good || !new || count + 64 <= highest);
                if good {
                    taken.insert(count);
                }
            }
        }

        #[test]
        fn nobody_makes_a_nonce_without_the_key(bytes in prop::array::uniform24(any::<u8>())) {
            let mut nonces = nonces();
            let nonce = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert_eq!(nonces.take(START, &nonce, "a", HERE, Some(1)), Err(Bad::Stale));
        }
    }
}
