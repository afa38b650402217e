//! SIP, sans-IO (RFC 3261).
//!
//! One [`Endpoint`] holds every transaction and dialog of the gateway. It is driven like this:
//!
//! 1. feed it: [`Endpoint::handle_input`] with a datagram or a message off a stream, or [`Endpoint::handle_timeout`] when the time it asked for has
//!    come, or one of its commands ([`Endpoint::invite`], [`Endpoint::answer`], …);
//! 2. then call [`Endpoint::poll_output`] until it returns [`Output::Timeout`]: send each [`Output::Transmit`], act on
//!    each [`Output::Event`].
//!
//! It reads no clock, opens no socket and draws no randomness but from the seed it was made with. A command for a dialog
//! that is unknown, ended, or in a state the command does not fit is ignored: the other side may always have been quicker.
//!
//! A message passes [`syntax`] (bytes to sound messages), [`transaction`] (repetition), [`dialog`] (who talks with whom) and
//! [`endpoint`] (what to do about it). [`digest`] proves who we are and finds out who calls, [`domains`] whom. [`locate`] knows
//! which way a host is reached. [`transport`] is the only I/O.

pub mod api;
pub mod dialog;
pub mod digest;
pub mod domains;
pub mod endpoint;
pub mod ids;
pub mod locate;
pub mod outbox;
pub mod outside;
pub mod path;
pub mod policy;
pub mod refer;
pub mod replaces;
pub mod syntax;
pub mod transaction;
pub mod transport;
pub mod within;

pub use api::*;
pub use dialog::SessionTimer;
pub use domains::{Domains, Named, UnknownTenant};
pub use endpoint::{AuthFailures, Endpoint};
pub use path::{ConnectionId, Listen, Path, PeerId, Transport};
pub use policy::{Extension, Policies, Policy, Refers, Refresher, SessionTimers};
pub use refer::{News, Progress, Referral, Reports};
pub use syntax::{SyntaxError, parse_uri, uri::phone_name_addr as name_addr};
pub use within::{Content, Outcome, RequestId, Within, WithinMethod};
