//! A number of calls, by way of a relay or past it, and what came of them.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use voxlane_dataplane::kernel::lab::traffic::Intake;

use crate::ends::{Ends, Outcome, RATE, Way, far_ends};
use crate::peers::Peer;
use crate::site::Site;

/// A load is offered in stretches, an odd number of them.
const STRETCHES: u32 = 5;

/// A packet may take so long, but for one in a thousand.
const LONGEST: Duration = Duration::from_millis(5);

/// A relay, or nothing, under a load.
#[derive(Debug)]
pub struct Load {
    pub calls: u32,
    /// One for each stretch.
    pub stretches: Vec<Outcome>,
}

impl Load {
    /// Offers the load to a relay that has just started.
    pub fn on(peer: &dyn Peer, site: &Site, calls: u32, length: Duration) -> Result<Self> {
        let ends = Ends::new(site, peer.intake())?;
        let running = peer.start(site, calls);
        let running = running.with_context(|| format!("{} with {calls} calls", peer.name()))?;
        let load = Self::offered(site, &ends, &running.calls, Way::Relay, length)?;
        drop(running.relay);
        println!("{}", load.line(peer.name()));
        Ok(load)
    }

    /// Offers the load of these calls.
    pub fn offered(site: &Site, ends: &Ends, calls: &[[SocketAddrV4; 2]], way: Way, length: Duration) -> Result<Self> {
        let stretch = length / STRETCHES;
        // Before they count: caches, frames, neighbours.
        ends.run(site, calls, way, stretch / 4)?;
        let stretches = (0..STRETCHES).map(|_| ends.run(site, calls, way, stretch));
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

    /// Whether, in most stretches, all packets could be sent, none was lost and the slow ones were not too slow: a virtual machine may
    /// stand still in any of them.
    pub fn holds(&self) -> bool {
        self.was_offered() && self.median(|stretch| stretch.lost) == 0 && self.time(99.9) <= LONGEST
    }

    /// Whether the ends could offer it, in most stretches.
    pub fn was_offered(&self) -> bool {
        let rate = f64::from(self.calls * RATE);
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

    /// How much of a core was in use, 0 to 1: 0, the ends'; 1, the other one.
    pub fn core(&self, number: usize) -> f64 {
        self.median(|stretch| stretch.used[number])
    }

    /// Packets a second.
    pub fn rate(&self) -> f64 {
        self.median(|stretch| stretch.counted as f64 / stretch.length.as_secs_f64())
    }

    /// What people see while it goes on.
    pub fn line(&self, name: &str) -> String {
        let sum = |count: fn(&Outcome) -> u64| self.stretches.iter().map(count).sum::<u64>();
        format!(
            "  {name:<14} {:>6} calls  {:>9} lost  {:>6} late  p50 {:>6.0} us  p99.9 {:>7.0} us  cores {:>3.0} % {:>3.0} %  {:>7.0} ns  {}",
            self.calls,
            sum(|stretch| stretch.lost),
            sum(|stretch| stretch.late),
            self.time(50.0).as_nanos() as f64 / 1e3,
            self.time(99.9).as_nanos() as f64 / 1e3,
            100.0 * self.core(0),
            100.0 * self.core(1),
            self.used_a_packet(),
            match (self.holds(), self.was_offered()) {
                (true, _) => "holds".to_owned(),
                (false, true) => "does not hold".to_owned(),
                (false, false) => format!("could not be offered ({} left out)", sum(|stretch| stretch.missed)),
            },
        )
    }
}

/// Loads past all relays, each measured once.
pub struct Direct<'a> {
    site: &'a Site,
    length: Duration,
    loads: BTreeMap<u32, Rc<Load>>,
}

impl<'a> Direct<'a> {
    /// None yet.
    pub fn new(site: &'a Site, length: Duration) -> Self {
        Self {
            site,
            length,
            loads: BTreeMap::new(),
        }
    }

    /// That of so many calls.
    pub fn at(&mut self, calls: u32) -> Result<Rc<Load>> {
        match self.loads.get(&calls) {
            Some(load) => Ok(Rc::clone(load)),
            None => self.anew(calls),
        }
    }

    /// The same, measured now: a light load is little beside what a machine has to do at one time and not at another.
    pub fn anew(&mut self, calls: u32) -> Result<Rc<Load>> {
        let ends = Ends::new(self.site, Intake::Xdp)?;
        let pairs: Vec<_> = (0..calls).map(far_ends).collect::<Result<_>>()?;
        let load = Rc::new(Load::offered(self.site, &ends, &pairs, Way::Direct, self.length)?);
        println!("{}", load.line("direct"));
        self.loads.insert(calls, Rc::clone(&load));
        Ok(load)
    }
}

/// A load by way of a relay, and past it.
pub struct Paired {
    pub load: Load,
    pub direct: Rc<Load>,
}

impl Paired {
    /// With the same load past the relay.
    pub fn new(load: Load, direct: &mut Direct<'_>) -> Result<Self> {
        let direct = direct.at(load.calls)?;
        Ok(Self { load, direct })
    }

    /// With the same load past the relay, measured now.
    pub fn beside(load: Load, direct: &mut Direct<'_>) -> Result<Self> {
        let direct = direct.anew(load.calls)?;
        Ok(Self { load, direct })
    }

    /// What the relay costs a packet, ns of all cores.
    pub fn cost(&self) -> f64 {
        self.load.used_a_packet() - self.direct.used_a_packet()
    }
}
