//! The offer/answer model (RFC 3264) for one audio stream.

use std::net::SocketAddr;

use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::media_plane::{Direction, LatchMode, Pacing, RtcpPort, Session, TelephoneEvent};

use super::crypto::Crypto;
use super::description::{Audio, Description, Encoding, Stream};
use super::write::{Ours, write};
use super::{Capabilities, Local, SdpError};
use crate::config::model::{RtcpMux, Transcode};

/// Writes an offer of everything in `caps`, in its order.
///
/// # Errors
/// [`SdpError::NothingAcceptable`] if SRTP is required and may not be offered.
pub fn offer(local: &Local<'_>, caps: &Capabilities) -> Result<Vec<u8>, SdpError> {
    write_offer(local, caps, Direction::SendRecv, &[], 0)
}

/// Writes an offer within a session, of which `before` is what we said last, with media that flows in this direction, seen from
/// us: every stream there was keeps its place, those that were refused refused (RFC 3264 section 8).
///
/// # Errors
/// As [`offer`].
pub fn offer_again(
    local: &Local<'_>,
    caps: &Capabilities,
    direction: Direction,
    before: &Description,
) -> Result<Vec<u8>, SdpError> {
    let place = before.audio_place().unwrap_or(0);
    write_offer(local, caps, direction, &before.streams, place)
}

/// Writes the offer of the second leg of a call whose first leg offered `theirs`: what both can do first
/// ([`Capabilities::beside`]), in the direction that `theirs` asks for, so that packets need no change if the answerer goes
/// by the order, and hold passes through. Returns the offer and what it offers, to be given to [`accept`] with the answer.
///
/// # Errors
/// As [`Capabilities::beside`]; also if SRTP is required and may not be offered.
pub fn offer_like(
    local: &Local<'_>,
    caps: &Capabilities,
    theirs: &Description,
    answerable: &[Codec],
    transcode: Transcode,
) -> Result<(Vec<u8>, Capabilities), SdpError> {
    let caps = caps.beside(theirs, answerable, transcode)?;
    let offer = write_offer(local, &caps, theirs.audio()?.direction, &[], 0)?;
    Ok((offer, caps))
}

fn write_offer(
    local: &Local<'_>,
    caps: &Capabilities,
    direction: Direction,
    streams: &[Stream],
    place: usize,
) -> Result<Vec<u8>, SdpError> {
    let (profile, crypto) = caps.security.offered()?;
    let ours = Ours {
        profile,
        crypto: crypto.to_vec(),
        codecs: caps.codecs.iter().map(|&codec| (codec, codec.payload_type())).collect(),
        telephone_event: caps.telephone_event,
        ptime: caps.ptime,
        direction,
        rtcp_mux: caps.rtcp_mux == RtcpMux::Offer,
    };
    Ok(write(local, &ours, streams, place))
}

/// Answers an offer: the codec we prefer among those it names, under its payload types; streams other than the audio
/// stream are refused by port 0; hold is mirrored (RFC 3264 section 6.1).
///
/// # Errors
/// [`SdpError::NothingAcceptable`] or [`SdpError::AddressFamily`]: the call is to be refused with 488.
pub fn answer(offer: &Description, local: &Local<'_>, caps: &Capabilities) -> Result<(Vec<u8>, Session), SdpError> {
    let (index, audio, security) = offer.choose(|audio| caps.security.answered(audio))?;
    if audio.rtp.is_ipv4() != local.rtp.is_ipv4() {
        return Err(SdpError::AddressFamily {
            remote: audio.rtp.ip(),
            local: local.rtp.ip(),
        });
    }
    let preferred = caps
        .codecs
        .iter()
        .find_map(|&codec| Some((codec, audio.format(codec)?)));
    let (codec, payload_type) = preferred.ok_or_else(|| audio.no_common_codec(&caps.codecs))?;
    let telephone_event = caps
        .telephone_event
        .and_then(|_| audio.telephone_event(codec.clock_rate()));
    let rtcp_mux = audio.rtcp_mux && caps.rtcp_mux != RtcpMux::Off;
    let (remote_rtcp, rtcp_port) = rtcp(audio, rtcp_mux);
    let session = Session {
        remote_rtp: audio.rtp,
        remote_rtcp,
        rtcp_port,
        codec,
        send_payload_type: payload_type,
        receive_payload_type: payload_type,
        telephone_event: telephone_event.map(|both| TelephoneEvent {
            send: both,
            receive: both,
        }),
        ptime: audio.packet_time(caps.ptime),
        direction: audio.direction.reversed(),
        latch: LatchMode::default(),
        pacing: Pacing::default(),
        srtp: security.as_ref().map(|(_, keys)| keys.clone()),
    };
    let crypto = security.map(|(tag, keys)| Crypto { tag, keying: keys.send });
    let ours = Ours {
        profile: audio.profile,
        crypto: crypto.into_iter().collect(),
        codecs: vec![(codec, payload_type)],
        telephone_event,
        ptime: session.ptime,
        direction: session.direction,
        rtcp_mux,
    };
    Ok((write(local, &ours, &offer.streams, index), session))
}

/// Reads the answer to an offer of `sent`. Of several codecs in it the first counts (RFC 3264 section 6.1: the answerer's
/// order of preference).
///
/// # Errors
/// [`SdpError::NothingAcceptable`] if the audio stream was refused or names nothing that was offered.
pub fn accept(sent: &Capabilities, answer: &Description) -> Result<Session, SdpError> {
    let audio = answer.audio()?;
    let (codec, payload_type) = first_of(audio, &sent.codecs).ok_or_else(|| audio.no_common_codec(&sent.codecs))?;
    let telephone_event = match (sent.telephone_event, audio.telephone_event(codec.clock_rate())) {
        (Some(receive), Some(send)) => Some(TelephoneEvent { send, receive }),
        (None, _) | (_, None) => None,
    };
    let srtp = sent.security.accepted(audio)?;
    let (remote_rtcp, rtcp_port) = rtcp(audio, audio.rtcp_mux && sent.rtcp_mux == RtcpMux::Offer);
    Ok(Session {
        remote_rtp: audio.rtp,
        remote_rtcp,
        rtcp_port,
        codec,
        send_payload_type: payload_type,
        receive_payload_type: codec.payload_type(),
        telephone_event,
        ptime: audio.packet_time(sent.ptime),
        direction: audio.direction.reversed(),
        latch: LatchMode::default(),
        pacing: Pacing::default(),
        srtp,
    })
}

/// Where the other side wants RTCP. With rtcp-mux agreed, a port of its own is void (RFC 5761 section 5.1.1).
fn rtcp(audio: &Audio, mux: bool) -> (SocketAddr, RtcpPort) {
    match mux {
        true => (audio.rtp, RtcpPort::Shared),
        false => (audio.rtcp, RtcpPort::Own),
    }
}

fn first_of(audio: &Audio, codecs: &[Codec]) -> Option<(Codec, u8)> {
    audio.formats.iter().find_map(|format| match format.encoding {
        Encoding::Codec(codec) if codecs.contains(&codec) => Some((codec, format.payload_type)),
        Encoding::Codec(_) | Encoding::TelephoneEvent { .. } | Encoding::Other => None,
    })
}
