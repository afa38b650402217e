//! The agent of a leg, with what it has to say, and what it is told.

use std::time::Duration;

use crossbeam_channel::Sender;
use mio::{Interest, Registry, Token};

use super::first_words::{FirstWords, Next};
use crate::agent::{Agent, AgentEvent, Watch};
use crate::codec::g711::BYTES_A_MILLISECOND;
use crate::dtmf::{self, Press};
use crate::media_plane::{AgentFailure, AgentNotice, AgentSpec, EndpointId, MediaEvent, Recording};
use crate::playout::Playout;
use crate::worker::Settings;

/// An agent that has not closed its connection after this long is dropped.
const CLOSING: Duration = Duration::from_secs(1);

/// What an agent that has become ready is told in a packet time of what was said before, milliseconds: it has caught up soon,
/// and no other call waits for that.
const CATCH_UP: usize = 1000;

/// Whether an agent hears what is said.
enum Hearing {
    /// Not yet: it is kept for it.
    Awaited(FirstWords),
    /// It is being told what was kept, and what is said now after that.
    Behind(FirstWords),
    /// As it is said.
    Live,
}

/// An agent and its queue.
pub(in crate::worker) struct Voice {
    endpoint: EndpointId,
    agent: Agent,
    hearing: Hearing,
    playout: Playout,
    keys: dtmf::Sender,
    events: Sender<MediaEvent>,
    /// The agent's connection that the poll knows.
    registered: Option<u32>,
    /// The control plane has been told that it is over, or needs no telling.
    is_final: bool,
    /// When it is dropped, if it was told to stop.
    closes_by: Option<Duration>,
}

impl Voice {
    /// Starts connecting the agent.
    pub(in crate::worker) fn start(
        endpoint: EndpointId,
        spec: AgentSpec,
        settings: &Settings,
        events: Sender<MediaEvent>,
        now: Duration,
    ) -> Self {
        Self {
            endpoint,
            playout: Playout::new(spec.queue_limit()),
            agent: Agent::start(spec, now),
            hearing: Hearing::Awaited(first_words(settings)),
            keys: dtmf::Sender::new(u16::from(settings.ptime) * 8),
            events,
            registered: None,
            is_final: false,
            closes_by: None,
        }
    }

    /// The endpoint of its leg.
    pub(in crate::worker) fn endpoint(&self) -> EndpointId {
        self.endpoint
    }

    /// It is told what an agent before has not heard.
    pub(super) fn take_up(&mut self, words: FirstWords) {
        self.hearing = Hearing::Awaited(words);
    }

    /// What was said, if it was never ready to hear it.
    pub(super) fn unheard(&mut self) -> Option<FirstWords> {
        match std::mem::replace(&mut self.hearing, Hearing::Live) {
            Hearing::Awaited(words) => Some(words),
            Hearing::Behind(_) | Hearing::Live => None,
        }
    }

    /// Its connection can be read or written.
    pub(in crate::worker) fn on_ready(&mut self, now: Duration) {
        self.agent.on_ready(&mut self.playout, now);
    }

    /// It hears a frame of µ-law.
    pub(in crate::worker) fn hear(&mut self, audio: &[u8], now: Duration) {
        match &mut self.hearing {
            Hearing::Awaited(words) | Hearing::Behind(words) => words.hear(audio),
            Hearing::Live => self.agent.on_audio(audio, &mut self.playout, now),
        }
    }

    /// It and the control plane are told of a key.
    pub(in crate::worker) fn on_press(&mut self, press: &Press) {
        match &mut self.hearing {
            Hearing::Awaited(words) | Hearing::Behind(words) => words.press(*press),
            Hearing::Live => self.agent.on_digit(press),
        }
        self.tell(MediaEvent::Digit {
            endpoint: self.endpoint,
            digit: press.digit,
            duration: press.duration,
        });
    }

    /// It is told what happens to its call.
    pub(in crate::worker) fn on_notice(&mut self, notice: &AgentNotice) {
        self.agent.on_notice(notice);
    }

    /// A packet time has passed.
    pub(in crate::worker) fn tick(&mut self, now: Duration) {
        self.catch_up(now);
        self.agent.on_tick(&mut self.playout, &mut self.keys, now);
    }

    /// A packet time has passed on a leg that has no session yet: only time limits count.
    pub(in crate::worker) fn tick_unheard(&mut self, now: Duration) {
        if self.agent.deadline().is_some_and(|deadline| deadline <= now) {
            self.tick(now);
        }
    }

    /// A frame of what it says has left: it is told which marks that has reached.
    pub(in crate::worker) fn has_spoken(&mut self) {
        if self.playout.has_mark() {
            self.agent.on_marks(&mut self.playout);
        }
    }

    /// Its keys are sent in packets of `ptime` milliseconds.
    pub(in crate::worker) fn set_ptime(&mut self, ptime: u8) {
        self.keys.set_packet(u16::from(ptime) * 8);
    }

    /// What it has to say, and the keys it presses.
    pub(in crate::worker) fn output(&mut self) -> (&mut Playout, &mut dtmf::Sender) {
        (&mut self.playout, &mut self.keys)
    }

    /// Lets the poll watch its connection, if it is to and does not yet, or no longer, and passes on what it reports.
    pub(in crate::worker) fn settle(&mut self, registry: &Registry, token: Token) {
        let (watch, generation) = (self.agent.watch(), self.agent.generation());
        let is_known = self.registered == Some(generation);
        if (watch == Watch::Events) != is_known
            && let Some(source) = self.agent.source()
        {
            match watch {
                Watch::Events => {
                    self.registered = Some(generation);
                    if let Err(error) = registry.register(source, token, Interest::READABLE | Interest::WRITABLE) {
                        let failure = AgentFailure::Connect(error.to_string());
                        self.finish(MediaEvent::AgentFailed(self.endpoint, failure));
                    }
                }
                Watch::Ticks => {
                    self.registered = None;
                    // If it goes on being watched, that is all.
                    let _ = registry.deregister(source);
                }
            }
        }
        while let Some(event) = self.agent.poll_event() {
            match event {
                AgentEvent::Ready => {
                    self.hearing = match std::mem::replace(&mut self.hearing, Hearing::Live) {
                        Hearing::Awaited(words) | Hearing::Behind(words) if !words.is_empty() => Hearing::Behind(words),
                        Hearing::Awaited(_) | Hearing::Behind(_) | Hearing::Live => Hearing::Live,
                    };
                    self.tell(MediaEvent::AgentReady(self.endpoint));
                }
                AgentEvent::PhoneDone => self.tell(MediaEvent::PhoneDone(self.endpoint)),
                AgentEvent::Asks(request) => self.tell(MediaEvent::AgentAsks(self.endpoint, request)),
                AgentEvent::Ended => self.finish(MediaEvent::AgentEnded(self.endpoint)),
                AgentEvent::Failed(failure) => self.finish(MediaEvent::AgentFailed(self.endpoint, failure)),
            }
        }
    }

    /// Asks it to close its connection in good order; nothing more is reported of it.
    pub(in crate::worker) fn stop(&mut self, now: Duration) {
        self.is_final = true;
        self.closes_by = Some(now + CLOSING);
        self.agent.stop(now);
    }

    /// Whether its connection is closed after [`Self::stop`], or has had long enough.
    pub(in crate::worker) fn is_done(&self, now: Duration) -> bool {
        self.agent.is_done() || self.closes_by.is_some_and(|limit| limit <= now)
    }

    /// What it recorded.
    pub(in crate::worker) fn into_recording(self) -> Option<Recording> {
        self.agent.into_recording()
    }

    /// Tells an agent that is ready what was said before.
    fn catch_up(&mut self, now: Duration) {
        let Hearing::Behind(words) = &mut self.hearing else {
            return;
        };
        let mut told = 0;
        while told < CATCH_UP * BYTES_A_MILLISECOND {
            match words.take() {
                Some(Next::Audio(audio)) => {
                    told += audio.len();
                    self.agent.on_audio(audio, &mut self.playout, now);
                }
                Some(Next::Press(press)) => self.agent.on_digit(&press),
                None => {
                    self.hearing = Hearing::Live;
                    return;
                }
            }
        }
    }

    fn finish(&mut self, event: MediaEvent) {
        self.tell(event);
        self.is_final = true;
    }

    fn tell(&self, event: MediaEvent) {
        if !self.is_final {
            // Without a reader nobody minds.
            let _ = self.events.send(event);
        }
    }
}

fn first_words(settings: &Settings) -> FirstWords {
    let limit = usize::try_from(settings.first_words.as_millis()).unwrap_or(usize::MAX);
    FirstWords::new(
        limit.saturating_mul(BYTES_A_MILLISECOND),
        usize::from(settings.ptime) * BYTES_A_MILLISECOND,
    )
}
