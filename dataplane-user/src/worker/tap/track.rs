//! One direction of a call that is listened to: packets as they came go in, audio and keys come out in order.

use std::net::SocketAddr;
use std::time::Duration;

use crossbeam_channel::Receiver;
use voxlane_common::address::TransportAddress;
use voxlane_common::frame;
use voxlane_common::latch::{Admission, Latch};
use voxlane_common::rtcp;
use voxlane_common::rtp::{RtpHeader, media};

use crate::dtmf::Press;
use crate::flows::{COMFORT_NOISE, Heard};
use crate::media_plane::{MirroredFrame, Session};
use crate::reception::Kind;
use crate::worker::Settings;
use crate::worker::clock::Clock;
use crate::worker::copies::{Copied, Way};
use crate::worker::leg::{Ear, MAX_AUDIO};

/// Packets taken at a time: many more than come in a packet time.
const BURST: usize = 256;

/// Where the packets of a track come from, in either lane.
pub(crate) enum Packets {
    /// Whole frames, of the kernel lane.
    Mirrored(Receiver<MirroredFrame>),
    /// Copies of a worker.
    Copied(Receiver<Copied>),
}

/// What a track is made of.
pub(crate) struct Source {
    pub(crate) packets: Packets,
    /// What was agreed with whoever sends them, or is sent them.
    pub(crate) session: Session,
    /// Which of the two.
    pub(crate) way: Way,
}

/// See the [module](self).
pub(super) struct Track {
    /// `None` while nobody carries it.
    source: Option<Source>,
    heard: Audible,
}

/// The way from packets to audio.
struct Audible {
    /// Whose packets are heard: what is copied is all that arrives.
    latch: Latch,
    ear: Ear,
    keys: Heard,
    presses: Vec<Press>,
}

impl Track {
    /// A track that nobody carries.
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            source: None,
            heard: Audible {
                latch: Latch::default(),
                ear: Ear::new(settings.jitter, settings.ptime),
                keys: Heard::default(),
                presses: Vec::new(),
            },
        }
    }

    /// Its packets come from there, from now on. What has come before is heard first.
    pub(super) fn set_source(&mut self, source: Option<Source>, clock: Clock) {
        self.receive(clock);
        if let Some(source) = &source {
            let goes_on = |before: &Source| {
                let same_end = before.session.remote() == source.session.remote();
                same_end && before.way == source.way
            };
            if !self.source.as_ref().is_some_and(goes_on) {
                self.heard.latch = Latch::default();
            }
            self.heard.ear.set_codec(source.session.codec);
        }
        self.source = source;
    }

    /// Takes what has come.
    pub(super) fn receive(&mut self, clock: Clock) {
        let Some(source) = &self.source else { return };
        match &source.packets {
            Packets::Mirrored(frames) => {
                for mirrored in frames.try_iter().take(BURST) {
                    self.heard.on_frame(source, &mirrored.bytes, clock);
                }
            }
            Packets::Copied(packets) => {
                for copied in packets.try_iter().take(BURST) {
                    self.heard.on_packet(source, copied.packet(), copied.from(), clock);
                }
            }
        }
    }

    /// The frame of audio that is due, and the keys that were pressed before it.
    pub(super) fn hear(&mut self, due: Duration, clock: Clock) -> (Option<&[u8]>, impl Iterator<Item = Press> + '_) {
        let Audible { ear, keys, presses, .. } = &mut self.heard;
        let now_ns = clock.monotonic_ns(due);
        let audio = ear.hear(due, |header, payload| {
            presses.extend(keys.on_event(header, payload, now_ns))
        });
        presses.extend(keys.on_time(now_ns));
        (audio, presses.drain(..))
    }
}

impl Audible {
    fn on_frame(&mut self, source: &Source, bytes: &[u8], clock: Clock) {
        let Ok(datagram) = frame::datagram(bytes) else {
            return;
        };
        let payload = bytes.get(datagram.payload_offset..datagram.payload_offset + datagram.length as usize);
        if let Some((packet, from)) = payload.zip(datagram.source.get()) {
            self.on_packet(source, packet, Some(from), clock);
        }
    }

    fn on_packet(&mut self, source: &Source, packet: &[u8], from: Option<SocketAddr>, clock: Clock) {
        let is_rtcp = matches!(packet, [first, second, ..] if rtcp::is_rtcp(*first, *second));
        let Some((header, payload)) = RtpHeader::parse(packet).zip(media(packet)).filter(|_| !is_rtcp) else {
            return;
        };
        let Source { session, way, .. } = source;
        let event = session.telephone_event.as_ref();
        let (audio, event) = match way {
            Way::Arrives => (session.receive_payload_type, event.map(|agreed| agreed.receive)),
            Way::Leaves => (session.send_payload_type, event.map(|agreed| agreed.send)),
        };
        let kind = match header.payload_type() {
            number if event == Some(number) => Kind::Event,
            number if number == audio => Kind::Audio { ticks_a_byte: 1 },
            COMFORT_NOISE => Kind::Noise,
            _ => return,
        };
        if payload.len() <= MAX_AUDIO && self.admits(session, &header, from) {
            self.ear.insert(&header, kind, payload, clock.now());
        }
    }

    /// Whether a packet is of whom the leg hears. What we send is.
    fn admits(&mut self, session: &Session, header: &RtpHeader, from: Option<SocketAddr>) -> bool {
        let Some(from) = from else { return true };
        let (signalled, found) = (session.remote_rtp.into(), TransportAddress::new(from));
        match self.latch.on_rtp(session.latch, signalled, found, header) {
            Admission::Owner | Admission::NewOwner => true,
            Admission::Probation | Admission::Stranger => false,
        }
    }
}
