//! The lab that voxlane is tested and shown in. The end-to-end tests in `tests/` and `cargo xtask run` share it.
//!
//! * [`netns`]: network namespaces joined by veth: a carrier, the gateway, a far side; [`namespace`]: one
//!   namespace as a thread, for tests of what is inside a process; [`bpf_fs`], where a test pins
//! * [`process`]: a program that is started, watched and always ended
//! * [`certificates`]: who vouches for whom, made for one test
//! * [`config`]: configurations for the lab
//! * [`gateway`]: the real `voxlane serve`, and [`reports`], what it tells of itself
//! * [`phone`]: voxlane's own softphone as a peer
//! * [`peers`]: sipp, baresip, and WebSocket agents in Python
//! * [`audio`], [`pcap`], [`rtp`]: tones and packets made, captured and recognised
//! * [`requirements`]: skips a test on a machine that cannot run it
//!
//! Nothing here knows how voxlane works inside: it speaks the command line, SIP, RTP and WebSocket only.

pub mod audio;
pub mod bpf_fs;
pub mod certificates;
pub mod config;
pub mod gateway;
pub mod namespace;
pub mod netns;
pub mod order;
pub mod pcap;
pub mod peers;
pub mod phone;
pub mod process;
pub mod reports;
pub mod requirements;
pub mod rtp;
