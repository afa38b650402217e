//! What the two ends agree on: a crypto suite, and a master key for each direction.

use std::fmt;
use std::num::NonZeroU64;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::RngCore;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::suite::Suite;

/// Longest master key identifier that is understood, bytes. RFC 4568 allows 128; nobody needs more than a number.
pub const LONGEST_MKI: u8 = 4;

/// Longest master key and salt of any suite.
const LONGEST_KEY: usize = 46;

/// The suite, master key and salt of one direction, and the identifier they go by, if they have one.
///
/// It is wiped when it is dropped, and shows neither key nor salt in its debug form.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keying {
    suite: Suite,
    #[serde(rename = "inline")]
    secret: Secret,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mki: Option<Mki>,
    /// Packets of either kind that it is to protect at most, if whoever announced it has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lifetime: Option<NonZeroU64>,
}

/// Key and salt, one after the other.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
struct Secret {
    bytes: [u8; LONGEST_KEY],
    length: usize,
}

/// A master key identifier, as packets carry it (RFC 3711 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mki {
    value: u32,
    length: u8,
}

/// The keys of a leg.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SrtpKeys {
    /// Of what the far end sends: those it has announced.
    pub receive: Keying,
    /// Of what we send: those we have announced.
    pub send: Keying,
}

/// A master key that cannot be one. It does not say what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// Not base64.
    #[error("the key is not base64")]
    Encoding,
    /// Not key and salt of the suite.
    #[error("the key is not of {wanted} bytes, as {suite} has it")]
    Length {
        /// The suite.
        suite: Suite,
        /// Length of key and salt together.
        wanted: usize,
    },
}

impl Keying {
    /// A key nobody else has.
    pub fn random(suite: Suite, mki: Option<Mki>) -> Self {
        let mut secret = Secret {
            bytes: [0; LONGEST_KEY],
            length: suite.key_len() + suite.salt_len(),
        };
        rand::rng().fill_bytes(&mut secret.bytes[..secret.length]);
        Self {
            suite,
            secret,
            mki,
            lifetime: None,
        }
    }

    /// The key that `inline` is the base64 of: master key and salt, one after the other (RFC 4568 section 6.1).
    ///
    /// # Errors
    /// If it cannot be a key of that suite.
    pub fn from_inline(suite: Suite, inline: &str, mki: Option<Mki>) -> Result<Self, BadKey> {
        let bytes = Zeroizing::new(STANDARD.decode(inline).map_err(|_| BadKey::Encoding)?);
        Self::from_bytes(suite, &bytes, mki)
    }

    /// The same of the bytes themselves.
    ///
    /// # Errors
    /// If they are too few or too many.
    pub fn from_bytes(suite: Suite, bytes: &[u8], mki: Option<Mki>) -> Result<Self, BadKey> {
        let wanted = suite.key_len() + suite.salt_len();
        if bytes.len() != wanted {
            return Err(BadKey::Length { suite, wanted });
        }
        let secret = Secret::new(bytes).ok_or(BadKey::Length { suite, wanted })?;
        Ok(Self {
            suite,
            secret,
            mki,
            lifetime: None,
        })
    }

    /// The same key, which is to protect so many packets of either kind at most (RFC 4568 section 6.1); as many as RFC 3711
    /// allows if nothing was said.
    #[must_use]
    pub fn with_lifetime(self, lifetime: Option<NonZeroU64>) -> Self {
        Self { lifetime, ..self }
    }

    /// How many packets of either kind it is to protect at most, if that was said.
    pub fn lifetime(&self) -> Option<NonZeroU64> {
        self.lifetime
    }

    pub(super) fn set_lifetime(&mut self, lifetime: Option<NonZeroU64>) {
        self.lifetime = lifetime;
    }

    /// Whether it is the same key under the same name, whatever its lifetime: a stream under it goes on where it is.
    pub fn is_same_key(&self, other: &Self) -> bool {
        (self.suite, &self.secret, self.mki) == (other.suite, &other.secret, other.mki)
    }

    /// The same key, with an identifier as long as the other side's, if that has one: who announces one wants one (RFC 4568
    /// section 6.1).
    #[must_use]
    pub fn with_mki_like(&self, theirs: &Self) -> Self {
        Self {
            mki: theirs.mki.and_then(|theirs| Mki::new(1, theirs.length())),
            ..self.clone()
        }
    }

    /// The suite.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The identifier that packets carry.
    pub fn mki(&self) -> Option<Mki> {
        self.mki
    }

    /// Master key and salt in base64, to be written into SDP and nowhere else.
    pub fn inline(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.secret.bytes()))
    }

    /// The master key.
    pub(super) fn key(&self) -> &[u8] {
        &self.secret.bytes()[..self.suite.key_len()]
    }

    /// The master salt.
    pub(super) fn salt(&self) -> &[u8] {
        &self.secret.bytes()[self.suite.key_len()..]
    }
}

impl fmt::Debug for Keying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keying")
            .field("suite", &self.suite)
            .field("mki", &self.mki)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

impl Secret {
    fn new(from: &[u8]) -> Option<Self> {
        let mut bytes = [0; LONGEST_KEY];
        bytes.get_mut(..from.len())?.copy_from_slice(from);
        Some(Self {
            bytes,
            length: from.len(),
        })
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(self.bytes())))
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let bytes = STANDARD.decode(text.as_bytes()).map(Zeroizing::new);
        let secret = bytes.ok().and_then(|bytes| Self::new(&bytes));
        secret.ok_or_else(|| serde::de::Error::custom("not a master key and salt in base64"))
    }
}

impl Mki {
    /// An identifier of `length` bytes, 1 to [`LONGEST_MKI`], in which `value` has room.
    pub fn new(value: u32, length: u8) -> Option<Self> {
        let fits = (1..=LONGEST_MKI).contains(&length) && u64::from(value) < 1 << (8 * u32::from(length));
        fits.then_some(Self { value, length })
    }

    /// Its number.
    pub fn value(self) -> u32 {
        self.value
    }

    /// How many bytes packets have it in.
    pub fn length(self) -> u8 {
        self.length
    }

    /// As packets have it, in the last bytes of four.
    pub(super) fn bytes(self) -> [u8; LONGEST_MKI as usize] {
        self.value.to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_kept_and_not_shown() {
        for suite in Suite::ALL {
            let keying = Keying::random(suite, Mki::new(1, 1));
            let inline = keying.inline();
            assert_eq!(Keying::from_inline(suite, &inline, Mki::new(1, 1)), Ok(keying.clone()));
            let shown = format!("{keying:?}");
            assert!(shown.contains("suite") && !shown.contains(inline.as_str()), "{shown}");
            let json = serde_json::to_string(&keying).unwrap();
            assert_eq!(serde_json::from_str::<Keying>(&json).unwrap(), keying);
        }
    }

    #[test]
    fn keys_of_other_lengths_are_none() {
        let suite = Suite::AesCm128HmacSha1Tag80;
        assert_eq!(Keying::from_inline(suite, "???", None), Err(BadKey::Encoding));
        let short = STANDARD.encode([0; 29]);
        assert_eq!(
            Keying::from_inline(suite, &short, None),
            Err(BadKey::Length { suite, wanted: 30 })
        );
        assert_eq!(Mki::new(256, 1), None);
        assert_eq!(Mki::new(1, 0), None);
        assert_eq!(Mki::new(1, 5), None);
        assert!(Mki::new(u32::MAX, 4).is_some());
    }
}
