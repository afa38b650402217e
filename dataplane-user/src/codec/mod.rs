//! Audio codecs.
//!
//! - [`g711`], [`g722`]: the codecs, each by itself;
//! - [`resample`]: sample rates turned into each other;
//! - [`Transcoder`]: one codec's audio turned into another's, by way of linear samples where there is no shorter one;
//! - [`run_together`]: the same of several streams at once, which costs less.

pub mod g711;
pub mod g722;
#[cfg(target_arch = "x86_64")]
mod lanes;
pub mod resample;
mod transcode;
mod wide;

use serde::{Deserialize, Serialize};

pub use self::transcode::{Transcoder, run_together};
use crate::codec::resample::Rate;

/// An audio codec that a leg may negotiate. All of them take a byte for each tick of the RTP clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Codec {
    /// G.711 µ-law, 8 kHz, static payload type 0.
    Pcmu,
    /// G.711 A-law, 8 kHz, static payload type 8.
    Pcma,
    /// G.722 at 64 kbit/s, 16 kHz, static payload type 9.
    G722,
}

impl Codec {
    /// Every codec, in the order of preference of interoperability requirement I5.
    pub const ALL: [Self; 3] = [Self::Pcmu, Self::Pcma, Self::G722];

    /// The name in `a=rtpmap` (RFC 3551 section 6).
    pub fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
        }
    }

    /// The static payload type (RFC 3551 table 4).
    pub fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
            Self::G722 => 9,
        }
    }

    /// Bytes that a millisecond of audio takes.
    pub fn bytes_a_millisecond(self) -> u8 {
        8
    }

    /// RTP clock rate in Hz: that of G.722 is half its sample rate, by an old mistake that everybody keeps (RFC 3551
    /// section 4.5.2).
    pub fn clock_rate(self) -> u32 {
        8000
    }

    /// Its sample rate.
    pub fn sample_rate(self) -> Rate {
        match self {
            Self::Pcmu | Self::Pcma => Rate::Khz8,
            Self::G722 => Rate::Khz16,
        }
    }
}

impl std::fmt::Display for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
