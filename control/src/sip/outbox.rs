//! What waits to be fetched by `poll_output`.

use std::collections::VecDeque;

use super::api::{Event, Output, Transmit};

/// Messages and events, each in the order they arose; messages leave first.
#[derive(Debug, Default)]
pub struct Outbox {
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

impl Outbox {
    /// Queues a message.
    pub fn send(&mut self, transmit: Transmit) {
        self.transmits.push_back(transmit);
    }

    /// Queues an event.
    pub fn tell(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// The next thing to do, if there is one.
    pub fn pop(&mut self) -> Option<Output> {
        match self.transmits.pop_front() {
            Some(transmit) => Some(Output::Transmit(transmit)),
            None => self.events.pop_front().map(Output::Event),
        }
    }
}
