//! What a line is about to need, asked for.

use super::Line;
use crate::cache::{Nearness, ask_for};

impl Line {
    /// A packet that arrived is about to be handled.
    pub(in crate::worker) fn expect_packet(&self, nearness: Nearness) {
        match nearness {
            Nearness::Near => {
                ask_for(&self.ports);
                ask_for(&self.session);
                ask_for(&self.stats);
                ask_for(&self.rtp_latch);
                ask_for(&self.police);
                ask_for(&self.account);
            }
            Nearness::Next => {
                if let Some(stats) = self.stats.get(self.place) {
                    stats.expect_received();
                }
            }
        }
    }

    /// A packet is about to be sent.
    pub(in crate::worker) fn expect_sending(&self, nearness: Nearness) {
        match nearness {
            Nearness::Near => {
                ask_for(&self.ports);
                ask_for(&self.session);
                ask_for(&self.stats);
                ask_for(&self.rtp_latch);
                ask_for(&self.keys);
                self.packetizer.expect();
                self.reporter.expect();
            }
            Nearness::Next => {
                if let Some(stats) = self.stats.get(self.place) {
                    stats.expect_sent();
                }
            }
        }
    }
}
