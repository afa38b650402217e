//! SDP offer/answer (RFC 3264, RFC 8866) as pure functions over typed descriptions.
//!
//! - [`Description`]: what the other side's SDP says, as far as a gateway for audio calls needs it;
//! - [`offer`], [`offer_like`], [`offer_again`]: write an offer; [`accept`] reads the answer to it;
//! - [`answer`]: reads an offer and writes the answer.
//!
//! Both [`accept`] and [`answer`] end in the data plane's [`Session`](voxlane_dataplane::media_plane::Session), seen from
//! the gateway; how a trunk wants its media treated (latch, pacing) is not in SDP, and left at its default. One codec is agreed, never several: an answer of ours names one, and of an answer to us the first counts.

mod crypto;
mod description;
mod negotiate;
mod write;

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use voxlane_dataplane::codec::Codec;

pub use crypto::{Crypto, Security, Signalling, may_carry_keys};
pub use description::{Audio, Description, Encoding, Format, Profile};
pub use negotiate::{accept, answer, offer, offer_again, offer_like};

use crate::config::model::{RtcpMux, SdpIdentity, Transcode};

/// Packet times that voxlane can send, milliseconds.
pub const PTIMES: [u8; 4] = [10, 20, 30, 40];

/// Our side of an SDP session.
#[derive(Clone, Copy, Debug)]
pub struct Local<'a> {
    /// What our SDP says of itself.
    pub identity: &'a SdpIdentity,
    /// Session id in `o=`: unique for the address, the same for the life of the leg.
    pub session_id: u64,
    /// Version in `o=`: one more whenever the SDP differs from the one sent before (RFC 3264 section 8).
    pub version: u64,
    /// Where we want RTP; RTCP on the port after it, or with rtcp-mux on the same.
    pub rtp: SocketAddr,
}

/// What a leg may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Codecs in order of preference, under their static payload types in offers.
    pub codecs: Vec<Codec>,
    /// Payload type of telephone-event in offers; `None`: no telephone-event.
    pub telephone_event: Option<u8>,
    /// Packet time, milliseconds, one of [`PTIMES`]: what we ask for, and use where the other side asks for nothing we can.
    pub ptime: u8,
    /// Whether RTP and RTCP may share a port.
    pub rtcp_mux: RtcpMux,
    /// Whether media is SRTP, and our keys for it.
    pub security: Security,
}

impl Capabilities {
    /// What of these a leg is offered that is to be relayed to the sender of `theirs`, who may be answered with a codec of
    /// `answerable`: the codecs with which packets need no change first, in this order, then, where audio may be
    /// transcoded, the others; their telephone-event payload type, their packet time.
    ///
    /// # Errors
    /// [`SdpError::NothingAcceptable`] if nothing can be answered, or needs no transcoding where there is to be none.
    pub fn beside(&self, theirs: &Description, answerable: &[Codec], transcode: Transcode) -> Result<Self, SdpError> {
        let audio = theirs.audio()?;
        let offered = |codec: &Codec| audio.format(*codec).is_some();
        let (mut codecs, others): (Vec<Codec>, Vec<Codec>) = self
            .codecs
            .iter()
            .copied()
            .partition(|codec| offered(codec) && answerable.contains(codec));
        match transcode {
            Transcode::Auto if !answerable.iter().any(offered) => return Err(audio.no_common_codec(answerable)),
            Transcode::Auto => codecs.extend(others),
            Transcode::Off => {}
        }
        let Some(&first) = codecs.first() else {
            return Err(audio.no_common_codec(&self.codecs));
        };
        Ok(Self {
            telephone_event: self
                .telephone_event
                .and_then(|_| audio.telephone_event(first.clock_rate())),
            ptime: audio.packet_time(self.ptime),
            codecs,
            // Of this leg only: what the two legs have in common is what is in the packets.
            rtcp_mux: self.rtcp_mux,
            // The keys of a leg are its own.
            security: self.security.clone(),
        })
    }
}

/// Why an SDP is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// It cannot be read.
    #[error("SDP cannot be read: {0}")]
    Syntax(String),
    /// No address for the audio stream.
    #[error("SDP has no c= line for its audio stream")]
    NoConnection,
    /// An address we cannot send to.
    #[error("SDP address {0:?} is not a unicast IP address (host names in c= and a=rtcp are not resolved)")]
    Address(String),
    /// The other side wants media on an address of the other IP version than ours.
    #[error("SDP wants media at {remote}, which cannot be reached from {local}")]
    AddressFamily {
        /// Their address.
        remote: IpAddr,
        /// Ours.
        local: IpAddr,
    },
    /// No stream or codec that we have in common: 488 Not Acceptable Here.
    #[error("SDP offers nothing acceptable: {0}")]
    NothingAcceptable(String),
}
