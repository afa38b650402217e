//! Keys of SRTP in SDP (RFC 4568): the `a=crypto` lines of an offer and the one of an answer.
//!
//! Who can read the SDP can read the media. So keys travel only where nobody else can read it: see [`may_carry_keys`].

use std::fmt;
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};
use voxlane_dataplane::srtp::{Keying, LONGEST_MKI, Mki, SrtpKeys, Suite};

use super::SdpError;
use super::description::{Audio, Profile};
use crate::config::model::{KeysInClear, SrtpPolicy};
use crate::sip::Transport;

/// An `a=crypto` line. Its debug form does not show the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crypto {
    /// By which the answer names the line of the offer.
    pub tag: u32,
    /// Suite and key of what its sender sends.
    pub keying: Keying,
}

/// Whether anybody on the way can read signalling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signalling {
    /// UDP, TCP.
    #[default]
    Clear,
    /// TLS.
    Encrypted,
}

impl Signalling {
    /// What goes over this transport.
    pub fn over(transport: Transport) -> Self {
        match transport {
            Transport::Udp | Transport::Tcp => Self::Clear,
            Transport::Tls => Self::Encrypted,
        }
    }
}

/// Whether SDP may carry keys over this signalling (interoperability requirement I7).
pub fn may_carry_keys(signalling: Signalling, in_clear: KeysInClear) -> bool {
    match (signalling, in_clear) {
        (Signalling::Encrypted, _) | (Signalling::Clear, KeysInClear::Allow) => true,
        (Signalling::Clear, KeysInClear::Refuse) => false,
    }
}

/// What a leg may do with SRTP, and the keys it offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// The trunk's policy.
    pub policy: SrtpPolicy,
    /// Whether SDP may carry keys ([`may_carry_keys`]).
    pub may_carry_keys: bool,
    /// Our keys, one a suite, in the order they are offered.
    pub ours: Vec<Crypto>,
}

impl Security {
    /// No SRTP at all.
    pub const fn off() -> Self {
        Self {
            policy: SrtpPolicy::Off,
            may_carry_keys: false,
            ours: Vec::new(),
        }
    }

    /// The profile and the lines of an offer of ours. With `optional`, the profile is the plain one, and an answerer that
    /// knows nothing of SRTP passes over the lines (RFC 8643).
    ///
    /// # Errors
    /// If SRTP is required and keys may not travel.
    pub(super) fn offered(&self) -> Result<(Profile, &[Crypto]), SdpError> {
        match (self.policy, self.may_carry_keys) {
            (SrtpPolicy::Off, _) | (SrtpPolicy::Optional, false) => Ok((Profile::Avp, &[])),
            (SrtpPolicy::Optional, true) => Ok((Profile::Avp, &self.ours)),
            (SrtpPolicy::Required, true) => Ok((Profile::Savp, &self.ours)),
            (SrtpPolicy::Required, false) => Err(SdpError::NothingAcceptable(format!(
                "srtp = \"required\" on this trunk, and {IN_CLEAR}"
            ))),
        }
    }

    /// Why nothing can be offered at all, if so: over other signalling that may be otherwise.
    pub fn bar(&self) -> Option<SdpError> {
        self.offered().err()
    }

    /// What becomes of an offered stream: the keys of both sides and the tag of the line that was taken, or plain RTP.
    ///
    /// # Errors
    /// If the trunk's policy and the offer exclude each other.
    pub(super) fn answered(&self, offered: &Audio) -> Result<Option<(u32, SrtpKeys)>, SdpError> {
        let wanted = match (offered.profile, self.policy) {
            (Profile::Avp, SrtpPolicy::Off) => return Ok(None),
            (Profile::Savp, SrtpPolicy::Off) => {
                return refused("SRTP is offered (RTP/SAVP), and srtp = \"off\" on this trunk");
            }
            (Profile::Avp, SrtpPolicy::Optional) if offered.crypto.is_empty() || !self.may_carry_keys => {
                return Ok(None);
            }
            (Profile::Avp, SrtpPolicy::Required) if offered.crypto.is_empty() => {
                return refused("plain RTP is offered, and srtp = \"required\" on this trunk");
            }
            (_, SrtpPolicy::Optional | SrtpPolicy::Required) if !self.may_carry_keys => return refused(IN_CLEAR),
            (Profile::Avp | Profile::Savp, SrtpPolicy::Optional | SrtpPolicy::Required) => &offered.crypto,
        };
        let taken = wanted.iter().find_map(|line| {
            let ours = self
                .ours
                .iter()
                .find(|ours| ours.keying.suite() == line.keying.suite())?;
            Some((line, ours))
        });
        let Some((line, ours)) = taken else {
            return refused(&format!(
                "none of its a=crypto lines can be used ({})",
                if offered.unusable.is_empty() {
                    "it has none".to_owned()
                } else {
                    offered.unusable.join("; ")
                }
            ));
        };
        let keys = SrtpKeys {
            receive: line.keying.clone(),
            send: ours.keying.with_mki_like(&line.keying),
        };
        Ok(Some((line.tag, keys)))
    }

    /// What the answer to an offer of ours has agreed.
    ///
    /// # Errors
    /// If it takes nothing of what was offered.
    pub(super) fn accepted(&self, answer: &Audio) -> Result<Option<SrtpKeys>, SdpError> {
        let (profile, offered) = self.offered()?;
        if offered.is_empty() || answer.profile == Profile::Avp && profile == Profile::Avp && !answer.has_crypto() {
            return match answer.profile {
                Profile::Avp => Ok(None),
                Profile::Savp => refused("the answer is SRTP (RTP/SAVP), which was not offered"),
            };
        }
        if profile == Profile::Savp && answer.profile == Profile::Avp {
            return refused("the answer is plain RTP (RTP/AVP), and SRTP was offered");
        }
        let [line] = answer.crypto.as_slice() else {
            return refused(&format!(
                "the answer has not one a=crypto line that can be used ({})",
                answer.unusable.join("; ")
            ));
        };
        let ours = offered
            .iter()
            .find(|ours| ours.tag == line.tag && ours.keying.suite() == line.keying.suite());
        match ours {
            Some(ours) => Ok(Some(SrtpKeys {
                receive: line.keying.clone(),
                send: ours.keying.clone(),
            })),
            None => refused("the answer's a=crypto line is none that was offered"),
        }
    }
}

/// Why keys may not travel.
const IN_CLEAR: &str =
    "SRTP keys may not travel over unencrypted signalling (UDP or TCP): use TLS, or plain RTP (RTP/AVP)";

fn refused<T>(why: &str) -> Result<T, SdpError> {
    Err(SdpError::NothingAcceptable(why.to_owned()))
}

impl Crypto {
    /// A new key for each suite, to be offered in this order.
    pub fn all_random() -> Vec<Self> {
        let lines = (1..).zip(Suite::ALL);
        lines
            .map(|(tag, suite)| Self {
                tag,
                keying: Keying::random(suite, None),
            })
            .collect()
    }

    /// Reads the value of an `a=crypto` attribute.
    ///
    /// # Errors
    /// In words without the key, why this line cannot be used.
    pub fn parse(value: &str) -> Result<Self, String> {
        let mut words = value.split_ascii_whitespace();
        let tag = words.next().unwrap_or_default();
        let tag = match tag.parse() {
            // RFC 4568 section 9.1: nine digits.
            Ok(number) if tag.len() <= 9 && tag.bytes().all(|digit| digit.is_ascii_digit()) => number,
            _ => return Err("a line has no tag".to_owned()),
        };
        let because = |why: &str| format!("line {tag} {why}");
        let name = words.next().ok_or_else(|| because("has no suite"))?;
        let suite = Suite::of_name(name).ok_or_else(|| because("is of another suite"))?;
        let key = words.next().ok_or_else(|| because("has no key"))?;
        let keying = inline(suite, key).map_err(|why| because(&why))?;
        for parameter in words {
            session_parameter(parameter).map_err(|why| because(&why))?;
        }
        Ok(Self { tag, keying })
    }
}

/// `inline:KEY[|LIFETIME][|MKI:LENGTH]` (RFC 4568 section 6.1).
fn inline(suite: Suite, text: &str) -> Result<Keying, String> {
    let (method, info) = text.split_once(':').ok_or("has no key")?;
    if !method.eq_ignore_ascii_case("inline") {
        return Err("has a key method other than inline".to_owned());
    }
    if info.contains(';') {
        return Err("has several keys".to_owned());
    }
    let mut parts = info.split('|');
    let key = parts.next().unwrap_or_default();
    let (mut mki, mut declared) = (None, None);
    for (place, part) in parts.enumerate() {
        match part.split_once(':') {
            Some((value, length)) if mki.is_none() => mki = Some(identifier(value, length)?),
            None if place == 0 => declared = Some(lifetime(part)?),
            Some(_) | None => return Err("has more after its key than a lifetime and an MKI".to_owned()),
        }
    }
    let keying = Keying::from_inline(suite, key, mki).map_err(|error| format!("is refused: {error}"))?;
    Ok(keying.with_lifetime(declared))
}

/// A number of packets, `2^20` or in digits: at most as many as RFC 3711 allows.
fn lifetime(text: &str) -> Result<NonZeroU64, String> {
    let packets = match text.strip_prefix("2^") {
        Some(power) => power.parse().ok().and_then(|power| 1u64.checked_shl(power)),
        None => text.parse().ok(),
    };
    let packets = packets.filter(|packets| *packets <= 1 << 48).and_then(NonZeroU64::new);
    packets.ok_or_else(|| "has a lifetime that is none".to_owned())
}

fn identifier(value: &str, length: &str) -> Result<Mki, String> {
    let mki = value.parse().ok().zip(length.parse().ok());
    let mki = mki.and_then(|(value, length)| Mki::new(value, length));
    mki.ok_or_else(|| format!("has an MKI that is none, or longer than {LONGEST_MKI} bytes"))
}

/// Those that change nothing for us are taken; any other makes the line one to pass over (RFC 4568 section 6.3).
fn session_parameter(text: &str) -> Result<(), String> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    match name {
        // Of the receiver's window: ours is 128 packets.
        "WSH" => Ok(()),
        // Keys are derived once.
        "KDR" if value == "0" => Ok(()),
        "UNENCRYPTED_SRTP" | "UNENCRYPTED_SRTCP" | "UNAUTHENTICATED_SRTP" => {
            Err(format!("wants {name}, which is no SRTP"))
        }
        // By its sender's word it may be passed over.
        _ if name.starts_with('-') => Ok(()),
        _ => Err(format!("wants {name}, which is not understood")),
    }
}

/// As it is written after `a=`.
impl fmt::Display for Crypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tag, keying } = self;
        write!(f, "crypto:{tag} {} inline:{}", keying.suite(), *keying.inline())?;
        if let Some(packets) = keying.lifetime() {
            write!(f, "|{packets}")?;
        }
        match keying.mki() {
            Some(mki) => write!(f, "|{}:{}", mki.value(), mki.length()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

    #[test]
    fn lines_of_the_field() {
        for (line, tag, suite, mki, lifetime) in [
            // RFC 4568 section 6.1, with a key of the right length.
            (
                format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4"),
                1,
                Suite::AesCm128HmacSha1Tag80,
                Mki::new(1, 4),
                Some(1 << 20),
            ),
            (
                format!("2 AES_CM_128_HMAC_SHA1_32 inline:{KEY}|2^48"),
                2,
                Suite::AesCm128HmacSha1Tag32,
                None,
                Some(1 << 48),
            ),
            (
                format!("9 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|4711"),
                9,
                Suite::AesCm128HmacSha1Tag80,
                None,
                Some(4711),
            ),
            (
                format!("3 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1:1"),
                3,
                Suite::AesCm128HmacSha1Tag80,
                Mki::new(1, 1),
                None,
            ),
            (
                format!("11 aes_cm_128_hmac_sha1_80 INLINE:{KEY} KDR=0 WSH=64 -X"),
                11,
                Suite::AesCm128HmacSha1Tag80,
                None,
                None,
            ),
            (
                "4 AEAD_AES_256_GCM inline:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned(),
                4,
                Suite::AeadAes256Gcm,
                None,
                None,
            ),
        ] {
            let crypto = Crypto::parse(&line).unwrap();
            let keying = &crypto.keying;
            assert_eq!(
                (
                    crypto.tag,
                    keying.suite(),
                    keying.mki(),
                    keying.lifetime().map(NonZeroU64::get)
                ),
                (tag, suite, mki, lifetime),
                "{line}"
            );
        }
    }

    #[test]
    fn lines_to_pass_over_say_why_and_not_the_key() {
        for (line, why) in [
            (format!("AES_CM_128_HMAC_SHA1_80 inline:{KEY}"), "no tag"),
            (format!("1 F8_128_HMAC_SHA1_80 inline:{KEY}"), "another suite"),
            (format!("1 AES_256_CM_HMAC_SHA1_80 inline:{KEY}"), "not of 46 bytes"),
            (format!("1 AES_CM_128_HMAC_SHA1_80 inline:{}", &KEY[1..]), "not base64"),
            (format!("1 AES_CM_128_HMAC_SHA1_80 uri:{KEY}"), "key method"),
            (
                format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY};inline:{KEY}"),
                "several keys",
            ),
            (format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^49"), "lifetime"),
            (format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^64"), "lifetime"),
            (format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|0"), "lifetime"),
            (format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:128"), "MKI"),
            (
                format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNENCRYPTED_SRTP"),
                "no SRTP",
            ),
            (
                format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNAUTHENTICATED_SRTP"),
                "no SRTP",
            ),
            (
                format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} FEC_ORDER=FEC_SRTP"),
                "not understood",
            ),
            (
                format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} KDR=1"),
                "not understood",
            ),
            ("1 AES_CM_128_HMAC_SHA1_80".to_owned(), "no key"),
        ] {
            let got = Crypto::parse(&line).unwrap_err();
            assert!(got.contains(why) && !got.contains(KEY), "{line}: {got}");
        }
    }

    proptest! {
        #[test]
        fn a_line_is_read_as_it_was_written(
            place in 0usize..5,
            mki in any::<Option<u8>>(),
            lifetime in prop::option::of(1u64..=1 << 48),
        ) {
            let mki = mki.and_then(|value| Mki::new(value.into(), 2));
            let keying = Keying::random(Suite::ALL[place], mki).with_lifetime(lifetime.and_then(NonZeroU64::new));
            let crypto = Crypto { tag: 7, keying };
            let text = crypto.to_string();
            prop_assert_eq!(Crypto::parse(text.strip_prefix("crypto:").unwrap_or_default()), Ok(crypto));
        }

        #[test]
        fn nothing_is_too_strange(text in "\\PC{0,80}") {
            let _ = Crypto::parse(&text);
            let _ = Crypto::parse(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{text}"));
        }
    }
}
