//! AES in counter mode and HMAC-SHA1 (RFC 2104) by crates, on any processor.

use aes::cipher::{BlockEncrypt, KeyInit};
use aes::{Aes128, Aes256};
use zeroize::{Zeroize, Zeroizing};

/// Length of an HMAC-SHA1, bytes.
pub(super) const HMAC_LEN: usize = 20;

/// A block of SHA-1, bytes.
const BLOCK: usize = 64;

/// The initial state of SHA-1 (FIPS 180-4 section 5.3.1).
const SHA1: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

/// Blocks of keystream made at a time: as many as the crate works on at once.
const LANES: usize = 8;

/// AES with the key's schedule, which the crate wipes when it is dropped.
#[expect(
    clippy::large_enum_variant,
    reason = "it is in a box, or on the stack for as long as keys are derived"
)]
pub(super) enum Cipher {
    Aes128(Aes128),
    Aes256(Aes256),
}

impl Cipher {
    /// `None` if the key is not of 16 or 32 bytes.
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => Aes128::new_from_slice(key).ok().map(Self::Aes128),
            32 => Aes256::new_from_slice(key).ok().map(Self::Aes256),
            _ => None,
        }
    }

    /// Adds the keystream from counter block `iv` on (RFC 3711 section 4.1.1).
    pub(super) fn apply(&self, iv: u128, text: &mut [u8]) {
        let mut counter = iv;
        for piece in text.chunks_mut(16 * LANES) {
            let mut keystream = [aes::Block::default(); LANES];
            for block in &mut keystream {
                block.copy_from_slice(&counter.to_be_bytes());
                counter = counter.wrapping_add(1);
            }
            let blocks = &mut keystream[..piece.len().div_ceil(16)];
            match self {
                Self::Aes128(cipher) => cipher.encrypt_blocks(blocks),
                Self::Aes256(cipher) => cipher.encrypt_blocks(blocks),
            }
            for (bytes, block) in piece.chunks_mut(16).zip(blocks) {
                xor(bytes, block);
            }
        }
    }
}

/// The keys of one direction.
pub(super) struct Keys {
    cipher: Cipher,
    inner: [u32; 5],
    outer: [u32; 5],
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.inner.zeroize();
        self.outer.zeroize();
    }
}

impl Keys {
    /// `None` if the cipher's key is not of 16 or 32 bytes.
    pub(super) fn new(cipher_key: &[u8], auth_key: &[u8]) -> Option<Self> {
        let [inner, outer] = hmac_states(auth_key);
        Some(Self {
            cipher: Cipher::new(cipher_key)?,
            inner,
            outer,
        })
    }

    /// Encrypts `packet[clear..]`, then returns the HMAC of the whole and `trailer`.
    pub(super) fn encrypt_then_tag(&self, packet: &mut [u8], clear: usize, iv: u128, trailer: u32) -> [u8; HMAC_LEN] {
        self.cipher.apply(iv, packet.get_mut(clear..).unwrap_or_default());
        self.tag(packet, trailer)
    }

    /// Returns the HMAC of the whole and `trailer`, and decrypts `packet[clear..]`.
    pub(super) fn tag_and_decrypt(&self, packet: &mut [u8], clear: usize, iv: u128, trailer: u32) -> [u8; HMAC_LEN] {
        let tag = self.tag(packet, trailer);
        self.cipher.apply(iv, packet.get_mut(clear..).unwrap_or_default());
        tag
    }

    fn tag(&self, packet: &[u8], trailer: u32) -> [u8; HMAC_LEN] {
        let mut state = self.inner;
        let (whole, rest) = packet.as_chunks::<BLOCK>();
        sha1::block_api::compress(&mut state, whole);
        let (ending, count) = ending(rest, trailer, packet.len());
        sha1::block_api::compress(&mut state, &ending.as_chunks().0[..count]);
        let inner = bytes_of(state);
        let mut block = [0; BLOCK];
        block[..HMAC_LEN].copy_from_slice(&inner);
        block[HMAC_LEN] = 0x80;
        block[BLOCK - 8..].copy_from_slice(&(8 * (BLOCK + HMAC_LEN) as u64).to_be_bytes());
        let mut state = self.outer;
        sha1::block_api::compress(&mut state, &[block]);
        bytes_of(state)
    }
}

fn bytes_of(state: [u32; 5]) -> [u8; HMAC_LEN] {
    let mut bytes = [0; HMAC_LEN];
    for (place, word) in bytes.as_chunks_mut().0.iter_mut().zip(state) {
        *place = word.to_be_bytes();
    }
    bytes
}

/// SHA-1 after the block with which each of HMAC's two hashes begins: all that they ever need of the key, which is no longer
/// than a block (RFC 2104 section 4).
pub(super) fn hmac_states(key: &[u8]) -> [[u32; 5]; 2] {
    [0x36, 0x5c].map(|pad| {
        let mut block = Zeroizing::new([pad; BLOCK]);
        for (byte, key) in block.iter_mut().zip(key) {
            *byte ^= key;
        }
        let mut state = SHA1;
        sha1::block_api::compress(&mut state, &[*block]);
        state
    })
}

/// What SHA-1 gets after the last whole block of an HMAC's packet: the `rest` of it, which is shorter than a block, the
/// trailer, and the padding; and how many blocks that is.
#[inline]
pub(super) fn ending(rest: &[u8], trailer: u32, length: usize) -> ([u8; 2 * BLOCK], usize) {
    let mut bytes = [0; 2 * BLOCK];
    let end = rest.len();
    let count = if end + 4 + 1 + 8 <= BLOCK { 1 } else { 2 };
    bytes[..end].copy_from_slice(rest);
    bytes[end..end + 4].copy_from_slice(&trailer.to_be_bytes());
    bytes[end + 4] = 0x80;
    let bits = 8 * (BLOCK + length + 4) as u64;
    bytes[count * BLOCK - 8..count * BLOCK].copy_from_slice(&bits.to_be_bytes());
    (bytes, count)
}

/// Adds a keystream, which is as long or longer.
#[inline]
pub(super) fn xor(text: &mut [u8], keystream: &[u8]) {
    let (words, rest) = text.as_chunks_mut::<16>();
    let (key_words, _) = keystream.as_chunks::<16>();
    for (word, key) in words.iter_mut().zip(key_words) {
        *word = (u128::from_ne_bytes(*word) ^ u128::from_ne_bytes(*key)).to_ne_bytes();
    }
    let done = 16 * words.len();
    for (byte, key) in rest.iter_mut().zip(keystream.iter().skip(done)) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::tests::hex;

    #[test]
    fn the_tag_is_that_of_rfc_2202() {
        // Test cases 1 and 2; the last four bytes of the data are the trailer.
        for (key, data, tag) in [
            (
                hex("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"),
                &b"Hi There"[..],
                "b617318655057264e28bc0b6fb378c8ef146be00",
            ),
            (
                hex("4a656665"),
                b"what do ya want for nothing?",
                "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
            ),
        ] {
            let (packet, trailer) = data.split_at(data.len() - 4);
            let trailer = u32::from_be_bytes(trailer.try_into().unwrap());
            let keys = Keys::new(&[0; 16], &key).unwrap();
            assert_eq!(keys.tag(packet, trailer).to_vec(), hex(tag));
        }
    }
}
