//! What has come past the network stack, on its way to the residents.

use mio::Token;
use slab::Slab;

use super::clock::Clock;
use super::inlet::{Arrival, Inlet, Takers};
use super::opening::{Opening, Place};
use super::resident::Resident;
use super::token::Source;
use crate::cache::Nearness;

/// Puts packets on their way to the residents whose they are.
pub(super) struct Delivery<'a> {
    pub(super) opening: &'a mut Opening,
    pub(super) residents: &'a mut Slab<Resident>,
    pub(super) clock: Clock,
}

impl Takers for Delivery<'_> {
    fn expect(&self, owner: Token, nearness: Nearness) {
        if let (key, Source::Port(side, _)) = Source::of(owner)
            && let Some(resident) = self.residents.get(key)
        {
            resident.expect_packet(side, nearness);
        }
    }

    fn take(&mut self, inlet: &Inlet, arrival: Arrival<'_>) -> bool {
        let Some((key, Source::Port(side, kind))) = inlet.owner(arrival.local).map(Source::of) else {
            return false;
        };
        // Another may have the key since.
        let resident = self.residents.get(key);
        if resident.and_then(|resident| resident.local(side, kind)) != Some(arrival.local) {
            return false;
        }
        let at = Place { key, side, kind };
        self.opening
            .take(self.residents, at, arrival.packet, arrival.from, self.clock);
        true
    }
}
