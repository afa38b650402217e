//! Both ends of the calls: they send at an even pace what so many calls send, and say what became of it.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use etherparse::PacketBuilder;
use hdrhistogram::Histogram;
use voxlane_benches::cores::{self, THIS_THREAD};
use voxlane_benches::idle::Idle;
use voxlane_benches::interrupt::Interruptible;
use voxlane_common::lab::traffic::longest;
use voxlane_dataplane::kernel::lab::traffic::{Flow, Intake, Traffic};

use crate::site::{CALLEE, CALLEE_END, CALLER, CALLER_END, DIRECT_ENDS, RELAY, Site, TO_CALLEE, TO_CALLER, WHO_LOOKS};

/// Packets a second of a call, both ways: one of 20 ms each.
pub const RATE: u32 = 100;

/// What is still on its way at the end has so long to arrive.
const LAST: Duration = Duration::from_millis(200);

/// For so long nothing is sent, before a load and after it, to see what a core does that has nothing to do.
const CALIBRATION: Duration = Duration::from_millis(100);

/// The sender has so long to come to its pace.
const BEGIN: Duration = Duration::from_millis(50);

/// The port of the first call's ends; every other one is that of the next.
const FIRST_PORT: u16 = 10_000;

/// The payload of 20 ms of G.711.
const PAYLOAD: usize = 160;

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By the relay.
    Relay,
    /// From end to end.
    Direct,
}

/// The ends.
pub struct Ends {
    traffic: Arc<Mutex<Traffic>>,
    relay: [u32; 2],
    direct: [u32; 2],
}

/// What became of the packets of so many calls in a while.
#[derive(Debug)]
pub struct Outcome {
    /// Packets sent, both ways.
    pub sent: u64,
    /// Packets that did not arrive.
    pub lost: u64,
    /// Packets that arrived after one that was sent later.
    pub late: u64,
    /// How long they took, ns.
    pub taken: Histogram<u64>,
    /// How much of each core was in use, 0 to 1: the ends' and the relay's.
    pub used: [f64; 2],
    /// How often the sender had nothing to send.
    idle: f64,
    /// Packets sent while that was looked at.
    pub counted: u64,
    /// For how long.
    pub length: Duration,
    /// Packets that were left out because the sender was kept from sending.
    pub missed: u64,
}

impl Outcome {
    /// How often a second the sender had nothing to send.
    fn idle_rate(&self) -> f64 {
        self.idle / self.length.as_secs_f64()
    }

    /// Core time in use for each packet, of all cores, ns.
    pub fn used_a_packet(&self) -> f64 {
        self.used.iter().sum::<f64>() * self.length.as_nanos() as f64 / self.counted as f64
    }
}

/// The far ends of a call.
pub fn far_ends(call: u32) -> Result<[SocketAddrV4; 2]> {
    let port = u16::try_from(u32::from(FIRST_PORT) + 2 * call).context("too many calls")?;
    Ok([SocketAddrV4::new(CALLER, port), SocketAddrV4::new(CALLEE, port)])
}

impl Ends {
    /// Ends that take in by this way what comes from the relay.
    pub fn new(site: &Site, intake: Intake) -> Result<Self> {
        let frames = [
            frame(site, CALLER_END, RELAY[0], [CALLER, TO_CALLER])?,
            frame(site, CALLEE_END, RELAY[1], [CALLEE, TO_CALLEE])?,
        ];
        let index = |interface| site.ends.interface(interface).1;
        let traffic = site.ends.run(move || -> Result<_> {
            let mut traffic = Traffic::load(frames)?;
            for (end, direct) in [CALLER_END, CALLEE_END].iter().zip(DIRECT_ENDS) {
                traffic.take_in(end, intake)?;
                traffic.take_in(direct, Intake::Xdp)?;
            }
            Ok(traffic)
        })?;
        Ok(Self {
            traffic: Arc::new(Mutex::new(traffic)),
            relay: [CALLER_END, CALLEE_END].map(index),
            direct: DIRECT_ENDS.map(index),
        })
    }

    /// Sends what calls send, each given by where its caller's and its callee's packets are to arrive.
    pub fn run(&self, site: &Site, calls: &[[SocketAddrV4; 2]], way: Way, length: Duration) -> Result<Outcome> {
        let traffic = Arc::clone(&self.traffic);
        let interfaces = match way {
            Way::Relay => self.relay,
            Way::Direct => self.direct,
        };
        let rate = u64::try_from(calls.len())? * u64::from(RATE);
        let (pairs, watched) = (pairs(calls)?, [site.end_core, site.relay_core]);
        site.ends.run(move || {
            cores::keep_to(THIS_THREAD, &cores::set_of(&watched[..1]))?;
            cores::schedule(THIS_THREAD, libc::SCHED_FIFO, WHO_LOOKS)?;
            let mut traffic = traffic.lock().unwrap_or_else(PoisonError::into_inner);
            // How often no packet is due on a core that has nothing else to do changes from one second to the next.
            let unloaded = |traffic: &mut Traffic| -> Result<f64> {
                traffic.offer(&[], interfaces, 0)?;
                Ok(offered(traffic, interfaces[0], watched, CALIBRATION)?.idle_rate())
            };
            let before = unloaded(&mut traffic)?;
            traffic.offer(&pairs, interfaces, rate)?;
            let mut outcome = offered(&traffic, interfaces[0], watched, length)?;
            arrived(&traffic, &mut outcome)?;
            let unloaded = (before + unloaded(&mut traffic)?) / 2.0;
            outcome.used[0] = 1.0 - outcome.idle_rate() / unloaded;
            Ok(outcome)
        })
    }
}

/// The flows of both ends. Calls take turns in an order in which neighbours are far from each other, as they come in from a carrier.
fn pairs(calls: &[[SocketAddrV4; 2]]) -> Result<Vec<[Flow; 2]>> {
    /// Has no divisor in common with any number of calls that is not a multiple of it.
    const STRIDE: usize = 7_919;
    let step = if calls.len().is_multiple_of(STRIDE) { 1 } else { STRIDE };
    let order = (0..calls.len()).map(|turn| turn * step % calls.len());
    let pair = |call: usize| {
        let [caller, callee] = far_ends(u32::try_from(call)?)?;
        let [to_caller, to_callee] = calls[call];
        Ok([(caller, to_caller), (callee, to_callee)])
    };
    order.map(pair).collect()
}

/// Sends for a while, and looks at what the cores have to do meanwhile.
fn offered(traffic: &Traffic, interface: u32, watched: [usize; 2], length: Duration) -> Result<Outcome> {
    thread::scope(|scope| {
        let (tell, told) = sync_channel(1);
        let sender = scope.spawn(move || -> Result<()> {
            cores::schedule(THIS_THREAD, libc::SCHED_OTHER, 0)?;
            tell.send(Interruptible::this_thread()?)?;
            Ok(traffic.send(interface)?)
        });
        let interruptible = told.recv().context("the sender does not start")?;
        let looked = look(traffic, watched[1], length);
        while !sender.is_finished() {
            interruptible.interrupt();
            thread::sleep(Duration::from_millis(1));
        }
        sender.join().ok().context("the sender has panicked")??;
        looked
    })
}

fn look(traffic: &Traffic, relay_core: usize, length: Duration) -> Result<Outcome> {
    thread::sleep(BEGIN);
    let idle = Idle::watch(&[relay_core])?;
    let (begin, before, used) = (Instant::now(), traffic.progress()?, idle.read());
    thread::sleep(length);
    let (end, after, read) = (Instant::now(), traffic.progress()?, idle.read());
    Ok(Outcome {
        sent: 0,
        lost: 0,
        late: 0,
        taken: Histogram::new(2)?,
        used: [0.0, read.used_since(&used)[0]],
        idle: (after.idle - before.idle) as f64,
        counted: after.sent - before.sent,
        length: end - begin,
        missed: after.missed - before.missed,
    })
}

/// Waits for what is on its way, and counts.
fn arrived(traffic: &Traffic, outcome: &mut Outcome) -> Result<()> {
    outcome.sent = traffic.progress()?.sent;
    let until = Instant::now() + LAST;
    outcome.taken = times(traffic)?;
    while outcome.taken.len() < outcome.sent && Instant::now() < until {
        thread::sleep(LAST / 20);
        outcome.taken = times(traffic)?;
    }
    let received = traffic.received()?;
    let packets = received.iter().map(|flow| flow.packets).sum();
    outcome.lost = outcome.sent.saturating_sub(packets);
    outcome.late = received.iter().map(|flow| flow.late).sum();
    Ok(())
}

/// How long packets took that have arrived.
fn times(traffic: &Traffic) -> Result<Histogram<u64>> {
    let mut times = Histogram::new(2)?;
    for (bucket, count) in (0..).zip(traffic.taken()?) {
        times.record_n(longest(bucket), count)?;
    }
    Ok(times)
}

/// 20 ms of PCMU from an end to the relay.
fn frame(site: &Site, from: &str, to: &str, addresses: [Ipv4Addr; 2]) -> Result<Vec<u8>> {
    let (source, _) = site.ends.interface(from);
    let (destination, _) = site.relay.interface(to);
    let [from, to] = addresses;
    let builder = PacketBuilder::ethernet2(source, destination)
        .ipv4(from.octets(), to.octets(), 64)
        .udp(0, 0);
    let mut payload = vec![0x80, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34, 0x56, 0x78];
    payload.resize(payload.len() + PAYLOAD, 0xff);
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, &payload)?;
    Ok(frame)
}
