//! Relayed calls, end to end: what a packet costs, how long it takes, and how many calls a core holds, of voxlane's kernel lane and
//! of other relays in the same run.
//!
//! [`site`] is where it happens, [`ends`] send and take in, [`peers`] are what is measured, [`load`] is a number of calls and what
//! came of them, [`search`] finds how many calls each holds, [`figures`] says it. What a relay costs is what all cores have to
//! do while it runs, without what they have to do when the same packets go from end to end past it.

mod ends;
mod figures;
mod load;
mod memory;
mod peers;
mod search;
mod site;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use voxlane_benches::arguments::Arguments;
use voxlane_benches::groups::ended;
use voxlane_tests::requirements::is_root;

use crate::figures::{Measured, Relay};
use crate::load::{Direct, Load, Paired};
use crate::peers::Peer;
use crate::peers::hand_on::Smallest;
use crate::peers::nftables::Nftables;
use crate::peers::rtpengine::Rtpengine;
use crate::peers::sockets::{Sockets, allow_sockets};
use crate::peers::voxlane::Voxlane;
use crate::search::most;
use crate::site::Site;

/// Calls at which relays are compared at an equal load.
const EQUAL: u32 = 500;

/// Most calls that can be offered here: as many as there are ports.
const LIMIT: u32 = 27_000;

/// How many calls show how cost grows.
const CURVE: [u32; 7] = [10, 30, 100, 300, 1_000, 3_000, 10_000];

/// How long a load is offered.
const SECONDS: f64 = 5.0;

/// Whom voxlane is measured beside, and with how many calls the search for their most begins.
const RIVALS: [(&dyn Peer, u32); 3] = [(&Rtpengine, 750), (&Sockets, 750), (&Nftables, 2_000)];

fn main() -> ExitCode {
    ended(run())
}

/// What is to be measured.
struct Plan {
    curve: Vec<u32>,
    length: Duration,
    rivals: Vec<(&'static dyn Peer, u32)>,
}

impl Plan {
    fn of(arguments: &Arguments) -> Result<Self> {
        let known = || {
            RIVALS
                .iter()
                .map(|(peer, _)| peer.name())
                .collect::<Vec<_>>()
                .join(", ")
        };
        let rival = |name: &String| {
            let found = RIVALS.iter().find(|(peer, _)| peer.name() == name);
            found
                .copied()
                .with_context(|| format!("--vs {name}: there are {}", known()))
        };
        let rivals = match &arguments.versus {
            None => RIVALS.to_vec(),
            Some(names) => names.iter().map(rival).collect::<Result<_>>()?,
        };
        let curve = match arguments.calls.as_slice() {
            [] => CURVE.to_vec(),
            calls => calls.to_vec(),
        };
        let fits = curve.iter().all(|calls| (1..=LIMIT).contains(calls));
        ensure!(fits, "--calls: from 1 to {LIMIT} can be offered");
        Ok(Self {
            curve,
            length: Duration::from_secs_f64(arguments.seconds.unwrap_or(SECONDS)),
            rivals,
        })
    }
}

fn run() -> Result<()> {
    let arguments = Arguments::of_this_process().map_err(anyhow::Error::msg)?;
    let plan = Plan::of(&arguments)?;
    ensure!(
        is_root(),
        "relays can be measured as root only: namespaces are made, and programs loaded"
    );
    allow_sockets()?;
    let site = Site::new()?;
    // First: a process that has held calls keeps their memory for others.
    let memory = memory::of_a_call(&site)?;
    let mut direct = Direct::new(&site, plan.length);
    let mut measure = |peer: &'static dyn Peer, from| -> Result<Relay> {
        println!("{}", peer.name());
        let at = |calls| Load::on(peer, &site, calls, plan.length);
        let most = Paired::new(most(at(EQUAL)?, from, LIMIT, at)?, &mut direct)?;
        let equal = Paired::beside(at(EQUAL)?, &mut direct)?;
        let within = plan.curve.iter().filter(|calls| **calls <= most.load.calls);
        let curve = within
            .map(|calls| Paired::new(at(*calls)?, &mut direct))
            .collect::<Result<_>>()?;
        Ok(Relay {
            name: peer.name(),
            equal,
            most,
            curve,
        })
    };
    let ours = measure(&Voxlane, 10_000)?;
    let smallest = measure(&Smallest, ours.most.load.calls)?;
    let beside = Load::on(&Smallest, &site, ours.most.load.calls, plan.length)?;
    let rivals = plan.rivals.iter().map(|(peer, from)| measure(*peer, *from));
    let rivals = rivals.collect::<Result<_>>()?;
    let measured = Measured {
        memory,
        ours,
        smallest,
        beside,
        rivals,
    };
    let report = measured.report();
    print!("{}", report.table());
    report.write(&arguments)
}
