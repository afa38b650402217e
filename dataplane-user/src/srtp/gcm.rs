//! AES in Galois/counter mode, by ring.

#![allow(unsafe_code)]

use std::mem::{ManuallyDrop, MaybeUninit, needs_drop};

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroize;

/// Length of a tag, bytes (RFC 7714 section 13.2: the short ones are not to be used).
pub(super) const TAG_LEN: usize = 16;

/// The key of one direction.
pub(super) struct Key(Box<Wiped>);

/// ring's key, whose schedule ring leaves in memory when it is dropped.
struct Wiped(ManuallyDrop<LessSafeKey>);

const _: () = assert!(!needs_drop::<LessSafeKey>());

impl Drop for Wiped {
    fn drop(&mut self) {
        let bytes = (&raw mut self.0).cast::<MaybeUninit<u8>>();
        // SAFETY: these are the bytes of the key, which is borrowed for long enough, and which nobody uses any more: it has
        // no destructor, as is asserted above.
        let bytes = unsafe { std::slice::from_raw_parts_mut(bytes, size_of::<LessSafeKey>()) };
        bytes.zeroize();
    }
}

impl Key {
    /// `None` if the key is not of 16 or 32 bytes.
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        let algorithm = match key.len() {
            16 => &AES_128_GCM,
            32 => &AES_256_GCM,
            _ => return None,
        };
        let key = UnboundKey::new(algorithm, key).ok()?;
        Some(Self(Box::new(Wiped(ManuallyDrop::new(LessSafeKey::new(key))))))
    }

    /// Encrypts `text`; the tag of it and of `clear`. `None` if there is too much of it.
    pub(super) fn seal(&self, nonce: [u8; NONCE_LEN], clear: &[u8], text: &mut [u8]) -> Option<[u8; TAG_LEN]> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.0.seal_in_place_separate_tag(nonce, Aad::from(clear), text);
        tag.ok()?.as_ref().try_into().ok()
    }

    /// Decrypts a text that its tag follows; `None` if the tag is wrong.
    pub(super) fn open(&self, nonce: [u8; NONCE_LEN], clear: &[u8], text_and_tag: &mut [u8]) -> Option<()> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = self.0.0.open_in_place(nonce, Aad::from(clear), text_and_tag);
        opened.ok().map(drop)
    }
}
