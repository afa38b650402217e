//! A packet, and its place in the sequence, to and from its protected form.
//!
//! What follows the packet's own bytes, in this order:
//!
//! | | counter mode (RFC 3711 figures 1 and 2) | Galois/counter mode (RFC 7714 figures 2 and 3) |
//! | --- | --- | --- |
//! | SRTP | MKI, tag | tag, MKI |
//! | SRTCP | E and index, MKI, tag | tag, E and index, MKI |

use zeroize::Zeroizing;

use super::derive::SessionKeys;
use super::gcm;
use super::keys::{Keying, Mki};
use super::packet::{Kind, Layout};
use super::portable::{self, HMAC_LEN};
use super::refusal::Refusal;
#[cfg(target_arch = "x86_64")]
use super::stitched;
use super::suite::Suite;

/// SRTCP's index with its flag, bytes.
const INDEX_LEN: usize = 4;

/// The flag of an SRTCP packet that is encrypted.
const ENCRYPTED: u32 = 1 << 31;

/// The keys of one kind of packet in one direction.
pub(super) struct Transform {
    kind: Kind,
    cipher: Cipher,
    /// 112 bits; one of 96 bits has 16 zeros after it.
    salt: Zeroizing<u128>,
    mki: Option<Mki>,
}

enum Cipher {
    CounterMode { engine: Engine, tag_len: usize },
    Galois(gcm::Key),
}

/// Counter mode and HMAC-SHA1 on this processor.
enum Engine {
    #[cfg(target_arch = "x86_64")]
    Stitched(Box<stitched::Keys>),
    Portable(Box<portable::Keys>),
}

/// A packet that has been protected by somebody, in parts, before it is known by whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed {
    pub(super) layout: Layout,
    /// Length of the packet proper.
    pub(super) length: usize,
    /// SRTCP's index without its flag; 0 of SRTP.
    pub(super) rtcp_index: u32,
}

impl Transform {
    /// `None` if the key is not of the suite's length.
    pub(super) fn new(keying: &Keying, kind: Kind) -> Option<Self> {
        let keys = SessionKeys::derive(keying, kind)?;
        Self::of_session(keying.suite(), kind, &keys, keying.mki())
    }

    /// With these session keys.
    pub(super) fn of_session(suite: Suite, kind: Kind, keys: &SessionKeys, mki: Option<Mki>) -> Option<Self> {
        let counter_mode = |tag_len| {
            let engine = Engine::new(keys.cipher(), &keys.auth[..])?;
            Some(Cipher::CounterMode { engine, tag_len })
        };
        let cipher = match (suite, kind) {
            (Suite::AeadAes128Gcm | Suite::AeadAes256Gcm, _) => Cipher::Galois(gcm::Key::new(keys.cipher())?),
            (Suite::AesCm128HmacSha1Tag32, Kind::Rtp) => counter_mode(4)?,
            (Suite::AesCm128HmacSha1Tag32, Kind::Rtcp)
            | (Suite::AesCm128HmacSha1Tag80 | Suite::Aes256CmHmacSha1Tag80, _) => counter_mode(10)?,
        };
        Some(Self {
            kind,
            cipher,
            salt: keys.salt.clone(),
            mki,
        })
    }

    /// Protects the packet in the first `length` bytes of `buffer`, which is at `index`; how long it is then.
    #[inline]
    pub(super) fn protect(
        &self,
        buffer: &mut [u8],
        length: usize,
        layout: Layout,
        index: u64,
    ) -> Result<usize, Refusal> {
        let end = length + self.overhead();
        let Some((packet, added)) = buffer.get_mut(..end).and_then(|all| all.split_at_mut_checked(length)) else {
            return Err(Refusal::NoRoom);
        };
        let word = self.word(index);
        match &self.cipher {
            Cipher::CounterMode { engine, tag_len } => {
                let tag = engine.encrypt_then_tag(packet, layout.clear, self.iv(layout.ssrc, index), word);
                self.write_after(added, word, &tag[..*tag_len]);
            }
            Cipher::Galois(key) => {
                let nonce = self.nonce(layout.ssrc, index);
                let (clear, text) = packet.split_at_mut(layout.clear);
                let tag = match self.kind {
                    Kind::Rtp => key.seal(nonce, clear, text),
                    Kind::Rtcp => key.seal(nonce, &rtcp_clear(clear, word), text),
                };
                let tag = tag.ok_or(Refusal::Malformed)?;
                let (place, added) = added.split_at_mut(gcm::TAG_LEN);
                place.copy_from_slice(&tag);
                let added = self.write_index(added, word);
                self.write_mki(added);
            }
        }
        Ok(end)
    }

    /// The parts of a protected packet.
    #[inline]
    pub(super) fn sealed(&self, packet: &[u8]) -> Result<Sealed, Refusal> {
        let length = packet.len().checked_sub(self.overhead()).ok_or(Refusal::Malformed)?;
        let (own, added) = packet.split_at_checked(length).ok_or(Refusal::Malformed)?;
        let layout = Layout::of(self.kind, own)?;
        let (index, mki) = match &self.cipher {
            Cipher::CounterMode { .. } => self.index_and_mki(added),
            Cipher::Galois(_) => self.index_and_mki(added.get(gcm::TAG_LEN..).unwrap_or_default()),
        };
        if let Some(expected) = self.mki
            && mki != &expected.bytes()[expected.bytes().len() - usize::from(expected.length())..]
        {
            return Err(Refusal::Mki);
        }
        let rtcp_index = match (self.kind, index.first_chunk()) {
            (Kind::Rtp, _) | (_, None) => 0,
            (Kind::Rtcp, Some(word)) => match u32::from_be_bytes(*word) {
                word if word & ENCRYPTED == 0 => return Err(Refusal::Unencrypted),
                word => word & !ENCRYPTED,
            },
        };
        Ok(Sealed {
            layout,
            length,
            rtcp_index,
        })
    }

    /// Takes the protection off a packet that is at `index`; how long it is then. If it is refused, what is in it is nothing.
    #[inline]
    pub(super) fn unprotect(&self, packet: &mut [u8], sealed: Sealed, index: u64) -> Result<usize, Refusal> {
        let Sealed { layout, length, .. } = sealed;
        let word = self.word(index);
        match &self.cipher {
            Cipher::CounterMode { engine, tag_len } => {
                let (own, added) = packet.split_at_mut_checked(length).ok_or(Refusal::Malformed)?;
                let tag = engine.tag_and_decrypt(own, layout.clear, self.iv(layout.ssrc, index), word);
                verify(&tag[..*tag_len], added)?;
            }
            Cipher::Galois(key) => {
                let nonce = self.nonce(layout.ssrc, index);
                let all = packet.get_mut(..length + gcm::TAG_LEN).ok_or(Refusal::Malformed)?;
                let (clear, text) = all.split_at_mut_checked(layout.clear).ok_or(Refusal::Malformed)?;
                let opened = match self.kind {
                    Kind::Rtp => key.open(nonce, clear, text),
                    Kind::Rtcp => key.open(nonce, &rtcp_clear(clear, word), text),
                };
                opened.ok_or(Refusal::Authentication)?;
            }
        }
        Ok(length)
    }

    /// Bytes that protection adds.
    #[inline]
    pub(super) fn overhead(&self) -> usize {
        let tag = match &self.cipher {
            Cipher::CounterMode { tag_len, .. } => *tag_len,
            Cipher::Galois(_) => gcm::TAG_LEN,
        };
        let index = match self.kind {
            Kind::Rtp => 0,
            Kind::Rtcp => INDEX_LEN,
        };
        tag + index + self.mki_len()
    }

    #[inline]
    fn mki_len(&self) -> usize {
        self.mki.map_or(0, |mki| usize::from(mki.length()))
    }

    /// What is authenticated after the packet in counter mode: the rollover counter, which is not sent, or SRTCP's index,
    /// which is.
    #[inline]
    pub(super) fn word(&self, index: u64) -> u32 {
        match self.kind {
            Kind::Rtp => (index >> 16) as u32,
            Kind::Rtcp => index as u32 | ENCRYPTED,
        }
    }

    /// The first counter block (RFC 3711 section 4.1.1).
    #[inline]
    pub(super) fn iv(&self, ssrc: u32, index: u64) -> u128 {
        (*self.salt << 16) ^ (u128::from(ssrc) << 64) ^ (u128::from(index) << 16)
    }

    /// RFC 7714 sections 8.1 and 9.1: the index has 48 bits in both.
    #[inline]
    fn nonce(&self, ssrc: u32, index: u64) -> [u8; 12] {
        let nonce = (*self.salt >> 16) ^ (u128::from(ssrc) << 48) ^ u128::from(index);
        let [_, _, _, _, nonce @ ..] = nonce.to_be_bytes();
        nonce
    }

    /// Its keys, and the length of its tags, if two packets at a time are faster with them than one after the other.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    pub(super) fn stitched(&self) -> Option<(&stitched::Keys, usize)> {
        match &self.cipher {
            Cipher::CounterMode {
                engine: Engine::Stitched(keys),
                tag_len,
            } => Some((keys, *tag_len)),
            Cipher::CounterMode { .. } | Cipher::Galois(_) => None,
        }
    }

    /// Whether two packets at a time are faster than one after the other.
    #[inline]
    pub(super) fn is_faster_in_pairs(&self) -> bool {
        match &self.cipher {
            #[cfg(target_arch = "x86_64")]
            Cipher::CounterMode {
                engine: Engine::Stitched(_),
                ..
            } => true,
            Cipher::CounterMode { .. } | Cipher::Galois(_) => false,
        }
    }

    /// What follows a packet in counter mode.
    #[inline]
    pub(super) fn write_after(&self, added: &mut [u8], word: u32, tag: &[u8]) {
        let added = self.write_index(added, word);
        let added = self.write_mki(added);
        added.copy_from_slice(tag);
    }

    fn write_index<'a>(&self, added: &'a mut [u8], word: u32) -> &'a mut [u8] {
        match self.kind {
            Kind::Rtp => added,
            Kind::Rtcp => {
                let (place, rest) = added.split_at_mut(INDEX_LEN);
                place.copy_from_slice(&word.to_be_bytes());
                rest
            }
        }
    }

    #[inline]
    fn write_mki<'a>(&self, added: &'a mut [u8]) -> &'a mut [u8] {
        let Some(mki) = self.mki else {
            return added;
        };
        let (place, rest) = added.split_at_mut(self.mki_len());
        let bytes = mki.bytes();
        place.copy_from_slice(&bytes[bytes.len() - place.len()..]);
        rest
    }

    /// SRTCP's index and the MKI, which stand beside each other.
    #[inline]
    fn index_and_mki<'a>(&self, added: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let (index, rest) = match self.kind {
            Kind::Rtp => (&added[..0], added),
            Kind::Rtcp => added.split_at_checked(INDEX_LEN).unwrap_or_default(),
        };
        (index, rest.get(..self.mki_len()).unwrap_or_default())
    }
}

/// What is authenticated of SRTCP beside its text (RFC 7714 section 9.2).
fn rtcp_clear(clear: &[u8], word: u32) -> [u8; 12] {
    let mut bytes = [0; 12];
    for (to, from) in bytes.iter_mut().zip(clear.iter().chain(&word.to_be_bytes())) {
        *to = *from;
    }
    bytes
}

/// Whether what was added to a packet in counter mode ends with this tag.
#[inline]
pub(super) fn verify(tag: &[u8], added: &[u8]) -> Result<(), Refusal> {
    let sent = added.len().checked_sub(tag.len()).and_then(|start| added.get(start..));
    match sent.is_some_and(|sent| is_same(tag, sent)) {
        true => Ok(()),
        false => Err(Refusal::Authentication),
    }
}

/// Whether two tags are the same, in a time that does not depend on where they differ.
#[inline]
fn is_same(tag: &[u8], sent: &[u8]) -> bool {
    let differences = tag.iter().zip(sent).fold(0, |all, (tag, sent)| all | (tag ^ sent));
    tag.len() == sent.len() && std::hint::black_box(differences) == 0
}

impl Engine {
    fn new(cipher_key: &[u8], auth_key: &[u8]) -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if let Some(keys) = stitched::Keys::new(cipher_key, auth_key) {
            return Some(Self::Stitched(Box::new(keys)));
        }
        Some(Self::Portable(Box::new(portable::Keys::new(cipher_key, auth_key)?)))
    }

    #[inline]
    fn encrypt_then_tag(&self, packet: &mut [u8], clear: usize, iv: u128, trailer: u32) -> [u8; HMAC_LEN] {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Stitched(keys) => keys.encrypt_then_tag(packet, clear, iv, trailer),
            Self::Portable(keys) => keys.encrypt_then_tag(packet, clear, iv, trailer),
        }
    }

    #[inline]
    fn tag_and_decrypt(&self, packet: &mut [u8], clear: usize, iv: u128, trailer: u32) -> [u8; HMAC_LEN] {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Stitched(keys) => keys.tag_and_decrypt(packet, clear, iv, trailer),
            Self::Portable(keys) => keys.tag_and_decrypt(packet, clear, iv, trailer),
        }
    }
}
