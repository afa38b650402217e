//! One direction of a call that is listened to: packets as they came go in, audio and keys come out in order.

use std::net::SocketAddr;
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError};
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
use crate::worker::leg::{Ear, MAX_AUDIO};

/// Frames taken at a time: many more than come in a packet time.
const BURST: usize = 256;

/// Whether more frames may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// They may.
    Open,
    /// The call has ended, or left the kernel lane.
    Gone,
}

/// See the [module](self).
pub(super) struct Track {
    frames: Receiver<MirroredFrame>,
    session: Session,
    /// Whose packets are heard: what is mirrored is all that arrives.
    latch: Latch,
    ear: Ear,
    keys: Heard,
    presses: Vec<Press>,
}

impl Track {
    /// The track of a leg with this session.
    pub(super) fn new(frames: Receiver<MirroredFrame>, session: Session, settings: &Settings) -> Self {
        let mut ear = Ear::new(settings.jitter, settings.ptime);
        ear.set_codec(session.codec);
        Self {
            frames,
            session,
            latch: Latch::default(),
            ear,
            keys: Heard::default(),
            presses: Vec::new(),
        }
    }

    /// Something else was agreed.
    pub(super) fn set_session(&mut self, session: Session) {
        if session.remote() != self.session.remote() {
            self.latch = Latch::default();
        }
        self.ear.set_codec(session.codec);
        self.session = session;
    }

    /// Takes what has come.
    pub(super) fn receive(&mut self, clock: Clock) -> Source {
        for _ in 0..BURST {
            match self.frames.try_recv() {
                Ok(frame) => self.take(&frame.bytes, clock),
                Err(TryRecvError::Empty) => return Source::Open,
                Err(TryRecvError::Disconnected) => return Source::Gone,
            }
        }
        Source::Open
    }

    /// The frame of audio that is due, and the keys that were pressed before it.
    pub(super) fn hear(&mut self, due: Duration, clock: Clock) -> (Option<&[u8]>, impl Iterator<Item = Press> + '_) {
        let Self { ear, keys, presses, .. } = self;
        let now_ns = clock.monotonic_ns(due);
        let audio = ear.hear(due, |header, payload| {
            presses.extend(keys.on_event(header, payload, now_ns))
        });
        presses.extend(keys.on_time(now_ns));
        (audio, presses.drain(..))
    }

    fn take(&mut self, bytes: &[u8], clock: Clock) {
        let Ok(datagram) = frame::datagram(bytes) else {
            return;
        };
        let payload = bytes.get(datagram.payload_offset..datagram.payload_offset + datagram.length as usize);
        if let Some((payload, from)) = payload.zip(datagram.source.get()) {
            self.on_datagram(payload, from, clock);
        }
    }

    fn on_datagram(&mut self, datagram: &[u8], from: SocketAddr, clock: Clock) {
        let is_rtcp = matches!(datagram, [first, second, ..] if rtcp::is_rtcp(*first, *second));
        let Some((header, payload)) = RtpHeader::parse(datagram).zip(media(datagram)).filter(|_| !is_rtcp) else {
            return;
        };
        let event = self.session.telephone_event.map(|agreed| agreed.receive);
        let kind = match header.payload_type() {
            number if event == Some(number) => Kind::Event,
            number if number == self.session.receive_payload_type => Kind::Audio { ticks_a_byte: 1 },
            COMFORT_NOISE => Kind::Noise,
            _ => return,
        };
        let (signalled, source) = (self.session.remote_rtp.into(), TransportAddress::new(from));
        match self.latch.on_rtp(self.session.latch, signalled, source, &header) {
            Admission::Owner | Admission::NewOwner if payload.len() <= MAX_AUDIO => {
                self.ear.insert(&header, kind, payload, clock.now());
            }
            Admission::Owner | Admission::NewOwner | Admission::Probation | Admission::Stranger => {}
        }
    }
}
