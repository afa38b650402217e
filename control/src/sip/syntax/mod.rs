//! The text of SIP: bytes in, validated messages out, and back.
//!
//! A datagram, or what [`stream`] takes for a message on a connection, passes through here in this order:
//!
//! 1. [`frame`]: start line, header lines (folded lines joined), body by Content-Length;
//! 2. [`names`]: each header line becomes an [`rsip::Header`], whatever way its name was written;
//! 3. [`fields`]: the headers the core looks at are picked out; what may be there once is there once;
//! 4. [`message`]: a [`Request`] or [`Response`] whose mandatory headers are present and sound, or a [`Fault`] that says
//!    what is wrong with it.
//!
//! [`uri`], [`name_addr`], [`via`] and [`params`] are the grammar those steps share; [`write`] makes outgoing messages and
//! [`status`] knows the reason phrases.
//!
//! What rsip does here: [`rsip::Method`] names the methods of the standards and [`rsip::Header`] holds a header once its
//! name is normalised. Its parser, its `Request` and its typed headers are not used: they refuse unknown methods, IPv6 and
//! `tel:` addresses, folded headers and escaped quotes, all of which carriers send.
//!
//! Nothing here panics on any input or allocates more than a small multiple of the datagram.

pub mod fields;
pub mod frame;
pub mod message;
pub mod name_addr;
pub mod names;
pub mod params;
pub mod session_expires;
pub mod status;
pub mod stream;
pub mod uri;
pub mod via;
pub mod write;

pub use fields::Fields;
pub use frame::{Framed, StartLine, frame};
pub use message::{Fault, Method, Request, Response};
pub use name_addr::NameAddr;
pub use uri::{Scheme, Uri, parse_uri};
pub use via::Via;
pub use write::Writer;

/// A piece of SIP text that does not follow the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// No or an empty scheme; `sip:` or `tel:` is expected.
    #[error("address has no scheme: write sip:user@host or tel:+number")]
    NoScheme,
    /// A scheme that calls cannot be placed to.
    #[error("address scheme is not offered: write sip:user@host or tel:+number")]
    UnsupportedScheme,
    /// A character that must be escaped or cannot be there at all.
    #[error("address holds a character that is not allowed there")]
    Character,
    /// The host is missing or not a name, an IPv4 address or an IPv6 address in brackets.
    #[error("address has no usable host: a name, an IPv4 address or an IPv6 address in brackets is expected")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("port is not a number from 1 to 65535")]
    Port,
    /// A `tel:` address without a number.
    #[error("tel: address has no number")]
    Number,
    /// A quoted string or an angle bracket that is not closed.
    #[error("a quote or angle bracket is not closed")]
    Unbalanced,
    /// A `;name=value` list that is not one.
    #[error("malformed parameters")]
    Params,
    /// A Via that is not `SIP/2.0/transport host`.
    #[error("malformed Via")]
    Via,
    /// More elements in a list than any honest message has.
    #[error("too many list elements")]
    TooMany,
}
