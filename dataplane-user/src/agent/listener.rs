//! Somebody who listens to a call over a WebSocket and has no say in it: Twilio's `<Start><Stream>`, one way.
//!
//! It is driven like an agent, but by nobody's worker: all it needs is [`Listener::tick`], once a packet time.

use std::time::Duration;

use super::twilio::OneWay;
use super::web::Web;
use super::{AgentEvent, Session as _};
use crate::dtmf::{self, Press};
use crate::media_plane::{TapSpec, TrackName};
use crate::playout::Playout;

/// See the [module](self).
pub(crate) struct Listener {
    web: Web<OneWay>,
    /// What it says goes nowhere.
    unheard: (Playout, dtmf::Sender),
}

impl Listener {
    /// Begins to connect.
    pub(crate) fn start(spec: &TapSpec, now: Duration) -> Self {
        Self {
            web: Web::start(&spec.web, OneWay::new(spec), now),
            unheard: (Playout::new(0), dtmf::Sender::new(0)),
        }
    }

    /// A frame of a track: µ-law, in order. What comes before the connection is lost.
    pub(crate) fn audio(&mut self, track: TrackName, ulaw: &[u8]) {
        self.web.tell(|protocol, socket| protocol.media(track, ulaw, socket));
    }

    /// A key that was pressed.
    pub(crate) fn digit(&mut self, track: TrackName, press: &Press) {
        self.web.tell(|protocol, socket| protocol.key(track, press, socket));
    }

    /// To be called once a packet time.
    pub(crate) fn tick(&mut self, now: Duration) {
        let (playout, keys) = &mut self.unheard;
        // No poll watches it.
        self.web.on_ready(playout, now);
        self.web.on_tick(playout, keys, now);
    }

    /// What happened, oldest first.
    pub(crate) fn poll_event(&mut self) -> Option<AgentEvent> {
        self.web.poll_event()
    }

    /// Says that the call is over, and closes.
    pub(crate) fn stop(&mut self, now: Duration) {
        self.web.stop(now);
    }

    /// Whether nothing is left to do for it.
    pub(crate) fn is_done(&self) -> bool {
        self.web.is_done()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::web::testing::spec;
    use super::*;
    use crate::media_plane::{AgentFailure, AgentLimits};

    /// Bytes that may wait.
    const LIMIT: usize = 4096;

    #[test]
    fn what_waits_for_one_who_does_not_read_has_a_limit() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut web = spec();
        web.addresses = vec![socket.local_addr().unwrap()];
        web.url = format!("ws://{}/", web.addresses[0]);
        web.limits = AgentLimits {
            write: LIMIT,
            ..AgentLimits::default()
        };
        let accepted = std::thread::spawn(move || tungstenite::accept(socket.accept().unwrap().0).unwrap());
        let tracks = vec![TrackName::Inbound];
        let mut listener = Listener::start(&TapSpec { web, tracks }, Duration::ZERO);
        while !matches!(listener.poll_event(), Some(AgentEvent::Ready)) {
            listener.tick(Duration::ZERO);
            std::thread::yield_now();
        }
        let _open = accepted.join().unwrap();
        // Nothing is written between ticks: all of it waits.
        let mut said = 0;
        let failed = loop {
            listener.audio(TrackName::Inbound, &[0xff; 160]);
            said += 160;
            assert!(said <= LIMIT, "{said} bytes of audio wait");
            if let Some(event) = listener.poll_event() {
                break event;
            }
        };
        assert!(
            matches!(failed, AgentEvent::Failed(AgentFailure::Stalled(LIMIT))),
            "{failed:?}"
        );
        assert!(listener.is_done());
    }
}
