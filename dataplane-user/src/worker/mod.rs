//! The worker lane: pinned threads that carry the media of agent legs and, where XDP cannot, of relayed calls.
//!
//! Each worker is one loop (`run`) that owns its residents: it waits until a socket is ready or a frame is due, takes
//! the commands that wait, receives what has arrived, and works off what is due. Nothing on that path takes a lock or,
//! once a call is up, allocates.
//!
//! From the outside in:
//! - `pool`: [`Workers`], the threads as the media plane sees them; [`Handle`], one resident of theirs.
//! - `command`: what the pool tells a worker. Events come back over the channel given to [`Workers::start`].
//! - `pulse`: what a worker says of itself, and the thread that sees when it says nothing more.
//! - `run`: the loop. It asks `wheel` who is due when, and `token` which descriptor is ready.
//! - `resident`: what a worker carries, one of the next three.
//! - `relay`: a relayed pair whose packets need no change but in their headers.
//! - `bridge`: one whose legs differ in codec or packet time.
//! - `leg`: a leg with its agent.
//! - `stats`: what a leg has come to, readable from any thread.
//! - `guard`: SRTP on the wire of a leg.
//! - `inlet`: what comes past the network stack, `owners`: whose it is, and `delivery`: to them.
//! - `opening`: the way of all that comes to the residents, past SRTP.
//! - `wire`: how packets leave, those of many legs together.
//! - `tap`: who listens to calls, in a thread of its own; `copies`: what they are sent of a leg's packets.
//! - `ports`, `clock`, `io`: the operating system. Only `io` has unsafe code.

mod bridge;
mod clock;
mod command;
mod copies;
mod delivery;
mod guard;
mod inlet;
mod io;
mod leg;
mod opening;
mod owners;
mod pool;
mod ports;
mod pulse;
mod relay;
mod resident;
mod run;
#[cfg(test)]
mod soak;
mod stats;
mod tap;
mod token;
mod wheel;
mod wire;

use std::time::Duration;

use crate::reception::Limits;

/// How the workers treat every call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Packet time of what agents say and hear, milliseconds.
    pub ptime: u8,
    /// How long packets may wait before an agent hears them.
    pub jitter: Limits,
    /// How much is kept of what is said to an agent before it is ready.
    pub first_words: Duration,
}

/// How much is kept of what is said to an agent before it is ready, unless configured otherwise.
pub const FIRST_WORDS: Duration = Duration::from_secs(10);

impl From<u8> for Settings {
    /// The usual, with this packet time.
    fn from(ptime: u8) -> Self {
        Self {
            ptime,
            jitter: Limits::default(),
            first_words: FIRST_WORDS,
        }
    }
}

#[cfg(feature = "ebpf")]
pub(crate) use command::{Ask, Express, Path};
pub use command::{Left, NewLeg, NewRelay, Parted, Parting, RelayLeg, Released, Removed};
pub(crate) use copies::{Way, channel};
pub use io::Sockets;
#[cfg(feature = "ebpf")]
pub(crate) use io::monotonic_ns;
pub use leg::Unheard;
#[cfg(feature = "ebpf")]
pub(crate) use pool::Guide;
pub use pool::{Handle, Workers};
pub use stats::LegStats;
pub(crate) use tap::{Packets, Source, Taps};
