//! Dialogs (RFC 3261 section 12): who talks with whom, and how far they have come.
//!
//! [`identity`] is what a dialog needs to make and recognise its requests: tags, CSeq numbers, route set, remote target.
//! [`state`] is where its INVITE stands. [`reply`] keeps what the responses to a request copy from it. [`session_timer`] is how long the session lives. [`table`] finds the
//! dialog a request belongs to.

pub mod identity;
pub mod reply;
pub mod session_timer;
pub mod state;
pub mod table;

pub use identity::Identity;
pub use reply::Reply;
pub use session_timer::{SessionTimer, Terms};
pub use state::{
    AfterAck, Again, Asked, Asker, Calling, Cancel, Dialog, Ending, Fork, Notifier, Offering, Outstanding, Pending,
    Provisional, Referred, Reliability, Reliably, Report, Ringing, State, Subscription, Unacked, Up,
};
pub use table::Dialogs;
