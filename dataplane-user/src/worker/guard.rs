//! The protection of a leg's wire: what its SRTP contexts are, and what they have refused.
//!
//! It belongs to the leg's sockets and goes where they go, so that whoever carries the leg next goes on in the same sequence
//! under the same keys.

use crate::srtp::{Kind, MAX_OVERHEAD, Refusal, Srtp, SrtpKeys};

/// Longest packet that is written here: what agents' legs send is shorter by far.
const LONGEST: usize = 2048;

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
    packet: [u8; LONGEST + MAX_OVERHEAD],
}

impl Guard {
    /// From now on with these keys, or without. A direction whose key stays the same goes on where it is.
    pub(super) fn set_keys(&mut self, keys: Option<&SrtpKeys>) {
        let Some(keys) = keys else {
            self.protection = None;
            return;
        };
        if let Some(Protection { srtp: Some(srtp), .. }) = self.protection.as_deref_mut()
            && srtp.rekey(keys).is_some()
        {
            return;
        }
        let srtp = Srtp::new(keys);
        if srtp.is_none() {
            tracing::error!(?keys, "SRTP keys are not of their suite's length: the leg is mute");
        }
        self.protection = Some(Box::new(Protection {
            srtp,
            packet: [0; LONGEST + MAX_OVERHEAD],
        }));
    }

    /// Takes the protection off a packet that has arrived; its length then.
    ///
    /// # Errors
    /// It is not to be used; it is counted.
    pub(super) fn unprotect(&mut self, kind: Kind, packet: &mut [u8]) -> Result<usize, Refusal> {
        let Some(protection) = self.protection.as_deref_mut() else {
            return Ok(packet.len());
        };
        let taken = match &mut protection.srtp {
            Some(srtp) => srtp.inbound.unprotect(kind, packet),
            None => Err(Refusal::Authentication),
        };
        taken.inspect_err(|refusal| self.count(*refusal))
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
        protected.inspect_err(|refusal| self.count(*refusal))
    }

    /// The packet as it is to be sent: itself, or a protected copy.
    ///
    /// # Errors
    /// It is not to be sent; it is counted.
    pub(super) fn sealed<'a>(&'a mut self, kind: Kind, packet: &'a [u8]) -> Result<&'a [u8], Refusal> {
        let Self { protection, refused } = self;
        let Some(protection) = protection.as_deref_mut() else {
            return Ok(packet);
        };
        let Protection { srtp, packet: buffer } = protection;
        let protected = match (srtp, buffer.get_mut(..packet.len())) {
            (Some(srtp), Some(place)) => {
                place.copy_from_slice(packet);
                srtp.outbound.protect(kind, buffer, packet.len())
            }
            (Some(_), None) => Err(Refusal::NoRoom),
            (None, _) => Err(Refusal::Authentication),
        };
        match protected {
            Ok(length) => Ok(&buffer[..length]),
            Err(refusal) => {
                refused[refusal.index()] += 1;
                Err(refusal)
            }
        }
    }

    /// Packets refused so far, in the order of [`Refusal::ALL`].
    pub(super) fn refused(&self) -> &[u64; Refusal::COUNT] {
        &self.refused
    }

    fn count(&mut self, refusal: Refusal) {
        let first = self.refused[refusal.index()] == 0;
        self.refused[refusal.index()] += 1;
        if first && refusal == Refusal::KeyExhausted {
            tracing::error!(
                "an SRTP master key has protected all it may: the leg is mute until a re-INVITE brings another"
            );
        }
    }
}
