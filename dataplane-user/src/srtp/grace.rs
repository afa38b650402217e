//! The time after a change of keys in which packets under the key before may still be on their way.

use super::context::Context;
use super::packet::Kind;
use super::refusal::Refusal;

/// Longest packet that is looked at under two keys. No telephony has longer ones.
const LONGEST: usize = 2048;

/// The key before, and where its streams are.
pub(super) struct Grace {
    before: Context,
    /// A packet as it came: the key that is tried first leaves nothing of it.
    copy: [u8; LONGEST],
}

impl Grace {
    pub(super) fn new(before: Context) -> Self {
        Self {
            before,
            copy: [0; LONGEST],
        }
    }

    /// As [`Inbound::unprotect`](super::Inbound::unprotect), under the key in force or else the one before; and whether the
    /// latter's time is over: its owner has begun to use the new one.
    pub(super) fn unprotect(
        &mut self,
        context: &mut Context,
        kind: Kind,
        packet: &mut [u8],
    ) -> (Result<usize, Refusal>, bool) {
        let copy = self.copy.get_mut(..packet.len());
        let copy = copy.map(|copy| {
            copy.copy_from_slice(packet);
            &*copy
        });
        let taken = context.unprotect(kind, packet);
        match (taken, copy) {
            (Ok(_), _) => (taken, true),
            (Err(_), None) => (taken, false),
            (Err(_), Some(copy)) => {
                packet.copy_from_slice(copy);
                (self.before.unprotect(kind, packet), false)
            }
        }
    }
}
