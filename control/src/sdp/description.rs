//! What the other side's SDP says.
//!
//! Only what decides an audio call is kept. Reading is lenient where intent is clear (line ends, stray blanks, bytes
//! after the last line, lines of other types however broken) and strict where guessing would send media astray.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::media_plane::Direction;

use super::crypto::Crypto;
use super::{PTIMES, SdpError};

/// A parsed SDP: the audio stream of interest, and the other streams as far as refusing them needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Every `m=` line in order.
    pub(super) streams: Vec<Stream>,
    /// The streams that are audio over RTP or SRTP and not refused: their indices and content. The first that is of use
    /// counts.
    audio: Vec<(usize, Audio)>,
}

/// An `m=` line, as far as refusing it needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) media: String,
    pub(super) proto: String,
    pub(super) formats: String,
    port: u16,
}

/// The audio stream of interest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audio {
    /// Where the other side wants RTP. The IP is unspecified if it put the call on hold the old way (`c=0.0.0.0`).
    pub rtp: SocketAddr,
    /// Where the other side wants RTCP: `a=rtcp` (RFC 3605), else the port after RTP.
    pub rtcp: SocketAddr,
    /// `a=rtcp-mux` (RFC 5761): it can take RTCP on the port of RTP, or in an answer, it will.
    pub rtcp_mux: bool,
    /// Which way media flows, seen from the other side.
    pub direction: Direction,
    /// Payload types in the other side's order of preference.
    pub formats: Vec<Format>,
    /// `a=ptime`: the packet time it would like to receive, milliseconds.
    pub ptime: Option<u8>,
    /// `a=maxptime`: the longest packet time it can receive, milliseconds.
    pub maxptime: Option<u8>,
    /// RTP or SRTP.
    pub profile: Profile,
    /// The `a=crypto` lines that can be used, in order.
    pub crypto: Vec<Crypto>,
    /// Why the others cannot.
    pub unusable: Vec<String>,
}

/// The transport of an audio stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// RTP/AVP: RTP, and SRTP where both sides have `a=crypto` lines (RFC 8643).
    Avp,
    /// RTP/SAVP: SRTP.
    Savp,
}

impl Profile {
    /// As an `m=` line has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Avp => "RTP/AVP",
            Self::Savp => "RTP/SAVP",
        }
    }
}

/// A payload type and what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// 0-127.
    pub payload_type: u8,
    /// What it stands for.
    pub encoding: Encoding,
}

/// What a payload type stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// A codec of ours.
    Codec(Codec),
    /// telephone-event (RFC 4733).
    TelephoneEvent {
        /// RTP clock rate, Hz.
        clock_rate: u32,
    },
    /// Anything else.
    Other,
}

impl Description {
    /// Reads an SDP.
    ///
    /// # Errors
    /// [`SdpError::Syntax`], or [`SdpError::NoConnection`] or [`SdpError::Address`] of the audio stream. That there is
    /// no audio stream of use is not an error here, but in [`Self::audio`].
    pub fn parse(bytes: &[u8]) -> Result<Self, SdpError> {
        let session = sdp_types::Session::parse(&tidy(bytes)).map_err(|error| SdpError::Syntax(error.to_string()))?;
        let streams: Vec<Stream> = session.medias.iter().map(Stream::new).collect();
        let mut audio = Vec::new();
        for (index, (stream, media)) in streams.iter().zip(&session.medias).enumerate() {
            let Some(profile) = stream.audio_profile() else {
                continue;
            };
            match Audio::new(&session, media, profile) {
                Ok(content) => audio.push((index, content)),
                Err(error) if audio.is_empty() => return Err(error),
                Err(_) => {}
            }
        }
        Ok(Self { streams, audio })
    }

    /// The audio stream of interest.
    ///
    /// # Errors
    /// [`SdpError::NothingAcceptable`] if there is none: no audio, refused audio (port 0), or audio over another
    /// transport than RTP/AVP or RTP/SAVP.
    pub fn audio(&self) -> Result<&Audio, SdpError> {
        match self.audio.first() {
            Some((_, audio)) => Ok(audio),
            None => {
                let streams: Vec<String> = self.streams.iter().map(Stream::to_string).collect();
                Err(SdpError::NothingAcceptable(format!(
                    "no stream is audio over RTP/AVP or RTP/SAVP with a port (its streams: {})",
                    if streams.is_empty() {
                        "none".to_owned()
                    } else {
                        streams.join(", ")
                    }
                )))
            }
        }
    }

    /// The place of the audio stream of interest among all streams.
    pub(super) fn audio_place(&self) -> Option<usize> {
        self.audio.first().map(|(place, _)| *place)
    }

    /// The stream at a place among all streams, if it is audio that could be taken.
    pub fn audio_at(&self, place: usize) -> Option<&Audio> {
        let audio = self.audio.iter().find(|(at, _)| *at == place);
        audio.map(|(_, audio)| audio)
    }

    /// The audio stream of which `judge` makes something, with its position among the streams and what was made of it:
    /// some offer the same audio over RTP and over SRTP.
    ///
    /// # Errors
    /// That of the first, if nothing can be made of any; or [`Self::audio`]'s.
    pub(super) fn choose<T>(
        &self,
        judge: impl Fn(&Audio) -> Result<T, SdpError>,
    ) -> Result<(usize, &Audio, T), SdpError> {
        let first = judge(self.audio()?);
        let made = self.audio.iter().find_map(|(index, audio)| {
            let made = judge(audio).ok()?;
            Some((*index, audio, made))
        });
        made.map_or_else(|| Err(first.err().unwrap_or(SdpError::NoConnection)), Ok)
    }

    /// The codecs of ours that the audio stream names, in the other side's order; none if there is no audio stream.
    pub fn codecs(&self) -> Vec<Codec> {
        let formats = self.audio.first().into_iter().flat_map(|(_, audio)| &audio.formats);
        formats
            .filter_map(|format| match format.encoding {
                Encoding::Codec(codec) => Some(codec),
                Encoding::TelephoneEvent { .. } | Encoding::Other => None,
            })
            .collect()
    }
}

impl Stream {
    fn new(media: &sdp_types::Media) -> Self {
        Self {
            media: media.media.clone(),
            proto: media.proto.clone(),
            formats: media.fmt.clone(),
            port: media.port,
        }
    }

    /// Over what it is, if it is audio that is not refused.
    fn audio_profile(&self) -> Option<Profile> {
        let profile = [Profile::Avp, Profile::Savp]
            .into_iter()
            .find(|profile| self.proto.eq_ignore_ascii_case(profile.name()))?;
        (self.media.eq_ignore_ascii_case("audio") && self.port != 0).then_some(profile)
    }
}

impl std::fmt::Display for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.media, self.port, self.proto)
    }
}

impl Audio {
    fn new(session: &sdp_types::Session, media: &sdp_types::Media, profile: Profile) -> Result<Self, SdpError> {
        let (crypto, unusable): (Vec<_>, Vec<_>) = values(media, "crypto").map(Crypto::parse).partition(Result::is_ok);
        let connection = media
            .connections
            .first()
            .or(session.connection.as_ref())
            .ok_or(SdpError::NoConnection)?;
        let rtp = SocketAddr::new(address(&connection.connection_address)?, media.port);
        let held = rtp.ip().is_unspecified();
        Ok(Self {
            rtp,
            rtcp: rtcp(media, rtp)?,
            rtcp_mux: media.has_attribute("rtcp-mux"),
            direction: match direction(session, media) {
                // RFC 3264 section 8.4: nothing may be sent to the unspecified address.
                Direction::SendRecv if held => Direction::SendOnly,
                Direction::RecvOnly if held => Direction::Inactive,
                direction => direction,
            },
            formats: formats(media),
            ptime: milliseconds(media, "ptime"),
            maxptime: milliseconds(media, "maxptime"),
            profile,
            crypto: crypto.into_iter().flatten().collect(),
            unusable: unusable.into_iter().filter_map(Result::err).collect(),
        })
    }

    /// Whether there are `a=crypto` lines, of use or not.
    pub(super) fn has_crypto(&self) -> bool {
        !(self.crypto.is_empty() && self.unusable.is_empty())
    }

    /// The payload type under which a codec is named, if it is.
    pub fn format(&self, codec: Codec) -> Option<u8> {
        self.payload_type(Encoding::Codec(codec))
    }

    /// The payload type of telephone-event at this clock rate, if it is named.
    pub fn telephone_event(&self, clock_rate: u32) -> Option<u8> {
        self.payload_type(Encoding::TelephoneEvent { clock_rate })
    }

    fn payload_type(&self, encoding: Encoding) -> Option<u8> {
        self.formats
            .iter()
            .find(|format| format.encoding == encoding)
            .map(|format| format.payload_type)
    }

    /// The packet time to send with, milliseconds: what the other side asks for if it is one of [`PTIMES`], else `ours`;
    /// shorter if its `a=maxptime` says so.
    pub fn packet_time(&self, ours: u8) -> u8 {
        let wanted = self.ptime.filter(|ptime| PTIMES.contains(ptime)).unwrap_or(ours);
        match self.maxptime {
            Some(most) if most < wanted => PTIMES.into_iter().rfind(|&ptime| ptime <= most).unwrap_or(PTIMES[0]),
            _ => wanted,
        }
    }

    pub(super) fn no_common_codec(&self, ours: &[Codec]) -> SdpError {
        let theirs: Vec<String> = self
            .formats
            .iter()
            .map(|format| format.payload_type.to_string())
            .collect();
        let ours: Vec<&str> = ours.iter().map(|codec| codec.name()).collect();
        SdpError::NothingAcceptable(format!(
            "no common codec (theirs: payload types {}; ours: {})",
            theirs.join(" "),
            ours.join(", ")
        ))
    }
}

/// Keeps the lines that matter (`v= c= m= a=`) with blanks collapsed, and blanks out every other line rather than dropping
/// it, so that the line numbers of errors are those of the original.
fn tidy(bytes: &[u8]) -> Vec<u8> {
    let mut tidy = Vec::with_capacity(bytes.len());
    for line in bytes.split(|&byte| byte == b'\n') {
        if let [b'v' | b'c' | b'm' | b'a', b'=', value @ ..] = line {
            tidy.extend_from_slice(&line[..2]);
            let words = value
                .split(|byte| byte.is_ascii_whitespace() || *byte == 0)
                .filter(|word| !word.is_empty());
            for (index, word) in words.enumerate() {
                if index > 0 {
                    tidy.push(b' ');
                }
                tidy.extend(word.iter().map(|&byte| if byte.is_ascii() { byte } else { b'?' }));
            }
        }
        tidy.push(b'\n');
    }
    tidy
}

/// Reads a connection address, in which a multicast suffix (`/ttl`) makes no sense for a call.
fn address(text: &str) -> Result<IpAddr, SdpError> {
    match IpAddr::from_str(text) {
        Ok(ip) if !ip.is_multicast() => Ok(ip),
        _ => Err(SdpError::Address(text.to_owned())),
    }
}

fn rtcp(media: &sdp_types::Media, rtp: SocketAddr) -> Result<SocketAddr, SdpError> {
    let next = SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1));
    let Some(value) = values(media, "rtcp").next() else {
        return Ok(next);
    };
    match sdp_types::Rtcp::from_str(value) {
        Ok(rtcp) if rtcp.port != 0 => {
            let ip = match rtcp.connection_address {
                Some(text) => address(&text)?,
                None => rtp.ip(),
            };
            // It cannot be reached from where RTP is sent.
            let strange = ip.is_ipv4() != rtp.is_ipv4();
            Ok(if strange { next } else { SocketAddr::new(ip, rtcp.port) })
        }
        _ => Ok(next),
    }
}

fn direction(session: &sdp_types::Session, media: &sdp_types::Media) -> Direction {
    let mut attributes = media.attributes.iter().chain(&session.attributes);
    let written = attributes.find_map(|attribute| sdp_types::Direction::from_str(attribute.attribute.trim()).ok());
    match written.unwrap_or_default() {
        sdp_types::Direction::SendRecv => Direction::SendRecv,
        sdp_types::Direction::SendOnly => Direction::SendOnly,
        sdp_types::Direction::RecvOnly => Direction::RecvOnly,
        sdp_types::Direction::Inactive => Direction::Inactive,
    }
}

/// The payload types of the `m=` line in order, each once, with what their `a=rtpmap` or RFC 3551 says they are.
fn formats(media: &sdp_types::Media) -> Vec<Format> {
    let mut maps: [Option<Encoding>; 128] = [None; 128];
    for codec in Codec::ALL {
        maps[usize::from(codec.payload_type())] = Some(Encoding::Codec(codec));
    }
    for map in values(media, "rtpmap").filter_map(|value| sdp_types::RtpMap::from_str(value).ok()) {
        if let Some(entry) = maps.get_mut(usize::from(map.payload_type)) {
            *entry = Some(encoding(&map));
        }
    }
    let mut seen = [false; 128];
    media
        .fmt
        .split(' ')
        .filter_map(|text| {
            let payload_type = u8::from_str(text).ok()?;
            let seen = seen.get_mut(usize::from(payload_type))?;
            if std::mem::replace(seen, true) {
                return None;
            }
            let encoding = maps[usize::from(payload_type)].unwrap_or(Encoding::Other);
            Some(Format { payload_type, encoding })
        })
        .collect()
}

fn encoding(map: &sdp_types::RtpMap) -> Encoding {
    if !matches!(map.encoding_params.as_deref(), None | Some("" | "1")) {
        return Encoding::Other; // more than one channel
    }
    if map.encoding_name.eq_ignore_ascii_case("telephone-event") {
        return Encoding::TelephoneEvent {
            clock_rate: map.clock_rate,
        };
    }
    let same =
        |codec: &Codec| map.encoding_name.eq_ignore_ascii_case(codec.name()) && map.clock_rate == codec.clock_rate();
    Codec::ALL
        .into_iter()
        .find(same)
        .map_or(Encoding::Other, Encoding::Codec)
}

/// A packet time attribute; some write a fraction (`20.0`).
fn milliseconds(media: &sdp_types::Media, name: &str) -> Option<u8> {
    let value = values(media, name).next()?;
    let whole = value.split_once('.').map_or(value, |(whole, _)| whole);
    u8::from_str(whole).ok().filter(|&ms| ms > 0)
}

fn values<'a>(media: &'a sdp_types::Media, name: &'a str) -> impl Iterator<Item = &'a str> {
    media.get_attribute_values(name).flatten().map(str::trim)
}
