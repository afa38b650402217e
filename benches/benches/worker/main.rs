//! The worker lane in numbers. Each group of figures is a module that adds its rows to one report:
//! - [`agents`]: calls a core of WebSocket agents, over real sockets, and the memory they take;
//! - [`codecs`]: what a packet costs in each codec, against ffmpeg;
//! - [`speech`]: how speech comes through each way between codecs, against ffmpeg's, with [`pesq`];
//! - [`srtp`]: what SRTP costs, against libsrtp;
//! - [`transcoded`]: calls a core that are transcoded;
//! - `io`: what a packet's way in and out costs, by sockets and by AF_XDP.
//!
//! The last two have [`calls`] between `gateway`'s interfaces, whose wires are a `tap`; without root `loopback` does.

#[cfg(feature = "kernel")]
mod agents;
mod calls;
mod codecs;
#[cfg(feature = "kernel")]
mod gateway;
#[cfg(feature = "kernel")]
mod heap;
#[cfg(feature = "kernel")]
mod io;
#[cfg(not(feature = "kernel"))]
mod loopback;
mod pesq;
mod speech;
mod srtp;
#[cfg(feature = "kernel")]
mod tap;
mod transcoded;

use std::process::ExitCode;

use voxlane_benches::groups;

fn main() -> ExitCode {
    groups::main(&[
        ("codecs", codecs::measure),
        ("speech", speech::measure),
        ("transcoded", transcoded::measure),
        ("srtp", srtp::measure),
        #[cfg(feature = "kernel")]
        ("agents", agents::measure),
        #[cfg(feature = "kernel")]
        ("io", io::measure),
    ])
}
