//! AES in counter mode and HMAC-SHA1, with the instructions that x86-64 has for both.
//!
//! A packet of 172 bytes is four blocks of SHA-1, each of which is one long chain: every group of four rounds waits for the
//! one before. AES is ten rounds for each 16 bytes, which wait for nothing. A processor does not find out by itself what it
//! could do meanwhile if the one follows the other: the chain fills its scheduler.
//!
//! - `pass`: one packet; while a block is hashed, the rounds of four blocks of keystream are put between its groups, where
//!   the processor has nothing else to do: encrypting is nearly free.
//! - `two`: two packets, of which the chains go side by side: two hashes take a quarter longer than one.
//! - `aes`, `sha1`: what both are made of; `wide`: the AES of two packets on a processor with registers of 512 bits.
//!
//! Everywhere else [`super::portable`] does the same with crates, and is what this is tested against.

#![allow(unsafe_code)]

mod aes;
mod pass;
mod sha1;
mod two;
mod wide;

use aes::ROUND_KEYS;
use pass::{DECRYPT, ENCRYPT, one};
use zeroize::ZeroizeOnDrop;

use super::portable::{self, HMAC_LEN};

/// A block of SHA-1, and four of AES.
const BLOCK: usize = 64;

/// The keys of one direction.
#[derive(ZeroizeOnDrop)]
pub(super) struct Keys {
    round_keys: [u128; ROUND_KEYS],
    #[zeroize(skip)]
    rounds: Rounds,
    #[zeroize(skip)]
    width: Width,
    inner: [u32; 5],
    outer: [u32; 5],
}

#[derive(Clone, Copy)]
enum Rounds {
    Ten,
    Fourteen,
}

/// Of the registers that AES can work with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Width {
    Bits128,
    Bits512,
}

impl Keys {
    /// `None` if this processor lacks an instruction, or the key is not of 16 or 32 bytes.
    pub(super) fn new(cipher_key: &[u8], auth_key: &[u8]) -> Option<Self> {
        let has_all = is_x86_feature_detected!("aes")
            && is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sse4.1");
        let rounds = match cipher_key.len() {
            16 => Rounds::Ten,
            32 => Rounds::Fourteen,
            _ => return None,
        };
        if !has_all {
            return None;
        }
        let [inner, outer] = portable::hmac_states(auth_key);
        Some(Self {
            // SAFETY: the processor has the instructions.
            round_keys: unsafe { aes::expand(cipher_key) },
            rounds,
            width: if wide::is_known() {
                Width::Bits512
            } else {
                Width::Bits128
            },
            inner,
            outer,
        })
    }

    /// The same keys on a processor without registers of 512 bits.
    #[cfg(test)]
    pub(super) fn narrow(&self) -> Self {
        Self {
            width: Width::Bits128,
            ..*self
        }
    }

    /// Encrypts `packet[clear..]`, then returns the HMAC of the whole and `trailer`.
    pub(super) fn encrypt_then_tag(&self, packet: &mut [u8], clear: usize, iv: u128, trailer: u32) -> [u8; HMAC_LEN] {
        self.one::<ENCRYPT>(packet, clear, iv, trailer)
    }

    /// Returns the HMAC of the whole and `trailer`, and decrypts `packet[clear..]` meanwhile.
    pub(super) fn tag_and_decrypt(&self, packet: &mut [u8], clear: usize, iv: u128, trailer: u32) -> [u8; HMAC_LEN] {
        self.one::<DECRYPT>(packet, clear, iv, trailer)
    }

    fn one<const WAY: u8>(&self, packet: &mut [u8], clear: usize, iv: u128, trailer: u32) -> [u8; HMAC_LEN] {
        // SAFETY: `new` has seen that the processor has the instructions.
        unsafe {
            match self.rounds {
                Rounds::Ten => one::<10, WAY>(self, packet, clear, iv, trailer),
                Rounds::Fourteen => one::<14, WAY>(self, packet, clear, iv, trailer),
            }
        }
    }
}

/// A packet, and what is to be done with it: as [`Keys::encrypt_then_tag`] and [`Keys::tag_and_decrypt`] take it.
pub(super) struct Task<'a> {
    pub(super) keys: &'a Keys,
    pub(super) packet: &'a mut [u8],
    pub(super) clear: usize,
    pub(super) iv: u128,
    pub(super) trailer: u32,
}

/// [`Keys::encrypt_then_tag`] of two packets.
pub(super) fn encrypt_then_tag_two(tasks: [Task<'_>; 2]) -> [[u8; HMAC_LEN]; 2] {
    two::<ENCRYPT>(tasks)
}

/// [`Keys::tag_and_decrypt`] of two packets.
pub(super) fn tag_and_decrypt_two(tasks: [Task<'_>; 2]) -> [[u8; HMAC_LEN]; 2] {
    two::<DECRYPT>(tasks)
}

fn two<const WAY: u8>(tasks: [Task<'_>; 2]) -> [[u8; HMAC_LEN]; 2] {
    match tasks[0].keys.width {
        // SAFETY: there are no keys where the processor lacks an instruction.
        Width::Bits128 => unsafe { two::two::<WAY>(tasks) },
        // SAFETY: nor those of this width where it lacks one of them.
        Width::Bits512 => unsafe { two::two_wide::<WAY>(tasks) },
    }
}
