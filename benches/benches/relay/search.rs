//! How many calls a relay holds.

use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;

use crate::ends::{Ends, Outcome, Way};
use crate::peers::Peer;
use crate::site::Site;

/// A load is offered in stretches of this length, an odd number of them.
pub const STRETCH: Duration = Duration::from_secs(1);
pub const STRETCHES: usize = 5;

/// A packet may take so long, but for one in a thousand.
const LONGEST: Duration = Duration::from_millis(5);

/// The search ends where what holds and what does not are as near to each other as this.
const NEAR: f64 = 1.06;

/// A relay, or nothing, under a load.
#[derive(Debug)]
pub struct Load {
    pub calls: u32,
    /// One for each stretch.
    pub stretches: Vec<Outcome>,
}

impl Load {
    /// Offers the load to a relay that has just started.
    pub fn on(peer: &dyn Peer, site: &Site, calls: u32) -> Result<Self> {
        let ends = Ends::new(site, peer.intake())?;
        let running = peer.start(site, calls);
        let running = running.with_context(|| format!("{} with {calls} calls", peer.name()))?;
        site.keep_to_cores()?;
        let load = Self::offered(site, &ends, &running.calls, Way::Relay);
        drop(running.relay);
        load
    }

    /// Offers the load of these calls.
    pub fn offered(site: &Site, ends: &Ends, calls: &[[SocketAddrV4; 2]], way: Way) -> Result<Self> {
        // Before they count: caches, frames, neighbours.
        ends.run(site, calls, way, STRETCH / 4)?;
        let stretches = (0..STRETCHES).map(|_| ends.run(site, calls, way, STRETCH));
        Ok(Self {
            calls: u32::try_from(calls.len())?,
            stretches: stretches.collect::<Result<_>>()?,
        })
    }

    /// The value that half of the stretches are below.
    fn median<T: PartialOrd + Copy>(&self, value: impl Fn(&Outcome) -> T) -> T {
        let mut values: Vec<T> = self.stretches.iter().map(value).collect();
        values.sort_by(|one, other| one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal));
        values[values.len() / 2]
    }

    /// Whether, in most stretches, no packet was lost and the slow ones were not too slow: a virtual machine may stand still in any of them.
    pub fn holds(&self) -> bool {
        self.median(|stretch| stretch.lost) == 0 && self.time(99.9) <= LONGEST
    }

    /// Whether the ends could offer it, in most stretches.
    pub fn was_offered(&self) -> bool {
        let rate = f64::from(self.calls * crate::ends::RATE);
        self.median(|stretch| stretch.counted as f64 / (rate * stretch.length.as_secs_f64())) > 0.98
    }

    /// What of a hundred packets took this time or less.
    pub fn time(&self, percentile: f64) -> Duration {
        let at = |taken: &Histogram<u64>| Duration::from_nanos(taken.value_at_percentile(percentile));
        self.median(|stretch| at(&stretch.taken))
    }

    /// Core time in use a packet, ns, of all cores.
    pub fn used_a_packet(&self) -> f64 {
        self.median(Outcome::used_a_packet)
    }

    /// How much of the relay's core was in use, 0 to 1.
    pub fn relay_core(&self) -> f64 {
        self.median(|stretch| stretch.used[1])
    }

    /// Packets lost in all stretches.
    pub fn lost(&self) -> u64 {
        self.stretches.iter().map(|stretch| stretch.lost).sum()
    }

    /// What people see while it goes on.
    pub fn line(&self, name: &str) -> String {
        let late: u64 = self.stretches.iter().map(|stretch| stretch.late).sum();
        format!(
            "{name:<14} {:>6} calls  {:>9} lost  {late:>6} late  p50 {:>6.0} us  p99.9 {:>7.0} us  cores {:>3.0} % {:>3.0} %  {:>7.0} ns  {}{}",
            self.calls,
            self.lost(),
            self.time(50.0).as_nanos() as f64 / 1e3,
            self.time(99.9).as_nanos() as f64 / 1e3,
            100.0 * self.median(|stretch| stretch.used[0]),
            100.0 * self.relay_core(),
            self.used_a_packet(),
            if self.holds() { "holds" } else { "does not hold" },
            match self.was_offered() {
                true => String::new(),
                false => {
                    let missed: u64 = self.stretches.iter().map(|stretch| stretch.missed).sum();
                    format!(", and could not be offered ({missed} left out)")
                }
            },
        )
    }
}

/// The most calls that a relay holds, to within some hundredths.
pub fn most(peer: &dyn Peer, site: &Site, from: u32, limit: u32) -> Result<Load> {
    let offered = |calls| -> Result<Load> {
        let load = Load::on(peer, site, calls)?;
        println!("  {}", load.line(peer.name()));
        Ok(load)
    };
    let mut held = offered(from)?;
    let mut broken = None;
    if !held.holds() {
        broken = Some(from);
        let mut calls = from;
        while !held.holds() {
            calls /= 2;
            anyhow::ensure!(calls > 0, "{} holds no call", peer.name());
            held = offered(calls)?;
            if !held.holds() {
                broken = Some(calls);
            }
        }
    }
    loop {
        let next = match broken {
            None => (f64::from(held.calls) * 1.5) as u32,
            Some(broken) if f64::from(broken) / f64::from(held.calls) <= NEAR => return Ok(held),
            Some(broken) => (f64::from(held.calls) * f64::from(broken)).sqrt() as u32,
        };
        let next = next.min(limit);
        if next <= held.calls {
            return Ok(held);
        }
        let load = offered(next)?;
        if load.holds() && load.was_offered() {
            held = load;
        } else {
            broken = Some(next);
        }
    }
}
