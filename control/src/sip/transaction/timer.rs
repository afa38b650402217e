//! Every timer of the core in one table.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::TransactionId;
use crate::sip::api::DialogId;
use crate::time::Time;

/// What a timer is for. The letters are RFC 3261's (table 4) and RFC 6026's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Timer {
    /// INVITE retransmission.
    A,
    /// INVITE gets no response.
    B,
    /// Repeated non-2xx finals to our INVITE are waited for.
    D,
    /// Non-INVITE retransmission.
    E,
    /// Non-INVITE gets no final response.
    F,
    /// Non-2xx final to an INVITE is repeated.
    G,
    /// ACK to our non-2xx final does not come.
    H,
    /// Repeated ACKs are waited for.
    I,
    /// Repeated non-INVITE requests are waited for.
    J,
    /// Repeated responses to our non-INVITE are waited for.
    K,
    /// Repeated INVITEs after our 2xx are waited for.
    L,
    /// Repeated and forked 2xx to our INVITE are waited for.
    M,
    /// Our INVITE or re-INVITE has waited long enough.
    InviteTimeout,
    /// Nothing has answered our INVITE in the time that whoever placed it has.
    Unheard,
    /// A cancelled INVITE gets no final response (RFC 3261 section 9.1).
    CancelGrace,
    /// An unanswered INVITE's provisional response is repeated, lest a proxy gives up (RFC 3261 section 13.3.1.1).
    Ringing,
    /// Our 2xx is repeated until its ACK (RFC 3261 section 13.3.1.4).
    Answer,
    /// The ACK to our 2xx does not come.
    NoAck,
    /// A re-INVITE of ours that met one of the other side's is sent again (RFC 3261 section 14.1).
    Offer,
    /// Our reliable provisional response is repeated until its PRACK (RFC 3262 section 3).
    Provisional,
    /// The PRACK does not come.
    NoPrack,
    /// The session is to be refreshed (RFC 4028 section 7.4).
    Refresh,
    /// The session ends if it is not refreshed (RFC 4028 section 10).
    Expiry,
}

/// Whose timer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Owner {
    /// A transaction's.
    Transaction(TransactionId),
    /// A dialog's.
    Dialog(DialogId),
}

/// The table: ordered by time, and by owner so that an owner's timers go with it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Timers {
    due: BTreeSet<(Time, Owner, Timer)>,
    armed: BTreeMap<Owner, Vec<(Timer, Time)>>,
}

impl Timers {
    /// Arms a timer; if it is armed already, it moves.
    pub fn arm(&mut self, owner: Owner, timer: Timer, at: Time) {
        self.disarm(owner, timer);
        self.due.insert((at, owner, timer));
        self.armed.entry(owner).or_default().push((timer, at));
    }

    /// Stops a timer, if it is armed.
    pub fn disarm(&mut self, owner: Owner, timer: Timer) {
        let Some(armed) = self.armed.get_mut(&owner) else {
            return;
        };
        if let Some(slot) = armed.iter().position(|(armed, _)| *armed == timer) {
            let (_, at) = armed.swap_remove(slot);
            self.due.remove(&(at, owner, timer));
        }
        if armed.is_empty() {
            self.armed.remove(&owner);
        }
    }

    /// Stops all timers of an owner.
    pub fn disarm_all(&mut self, owner: Owner) {
        for (timer, at) in self.armed.remove(&owner).unwrap_or_default() {
            self.due.remove(&(at, owner, timer));
        }
    }

    /// When the next timer is due.
    pub fn next(&self) -> Option<Time> {
        self.due.first().map(|(at, _, _)| *at)
    }

    /// Takes out the earliest timer that is due.
    pub fn pop(&mut self, now: Time) -> Option<(Owner, Timer)> {
        let (at, owner, timer) = *self.due.first()?;
        if at > now {
            return None;
        }
        self.disarm(owner, timer);
        Some((owner, timer))
    }

    /// Whether no timer is armed.
    pub fn is_empty(&self) -> bool {
        self.due.is_empty() && self.armed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_in_order_and_go_with_their_owner() {
        let (one, two) = (Owner::Transaction(TransactionId(1)), Owner::Dialog(DialogId(1)));
        let at = Time::from_micros;
        let mut timers = Timers::default();
        timers.arm(one, Timer::A, at(5));
        timers.arm(one, Timer::B, at(9));
        timers.arm(two, Timer::Answer, at(4));
        timers.arm(one, Timer::A, at(3));
        assert_eq!(timers.next(), Some(at(3)));
        assert_eq!(timers.pop(at(4)), Some((one, Timer::A)));
        assert_eq!(timers.pop(at(4)), Some((two, Timer::Answer)));
        assert_eq!(timers.pop(at(4)), None);
        timers.disarm_all(one);
        assert!(timers.is_empty());
    }
}
