//! A worker allocates nothing once its calls are up: an agent leg and a relayed pair, counted by an allocator of our own.

#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]
#![allow(unsafe_code, reason = "an allocator cannot be written without")]

mod worker_support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::SeqCst};

use crossbeam_channel::unbounded;
use voxlane_dataplane::media_plane::{AgentSpec, EndpointId};
use voxlane_dataplane::plane::Rules;
use voxlane_dataplane::worker::{NewLeg, NewRelay, RelayLeg, Workers};
use worker_support::{EVENT, Phone, eventually, sockets};

/// The thread whose allocations are counted; 0: none.
static COUNTED: AtomicI32 = AtomicI32::new(0);

/// Allocations, reallocations and releases of that thread.
static CALLS: AtomicU64 = AtomicU64::new(0);

struct Counting;

fn count() {
    let counted = COUNTED.load(SeqCst);
    // SAFETY: gettid has no conditions.
    if counted != 0 && unsafe { libc::gettid() } == counted {
        CALLS.fetch_add(1, SeqCst);
    }
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as for the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: as for the caller.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as for the caller.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The thread of this process that has this name.
fn thread(name: &str) -> i32 {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let mut named = threads.filter(|entry| {
        let path = entry.as_ref().unwrap().path();
        fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    });
    let entry = named.next().unwrap().unwrap();
    entry.file_name().to_str().unwrap().parse().unwrap()
}

/// Everything that a call does: packets in order, lost, late and twice, a key, and reports.
fn talk(phone: &mut Phone, round: u32) {
    match round % 25 {
        // Lost.
        7 => phone.skip(),
        // Late.
        13 => {
            let late = phone.hold_back(0, &[0x42; 160]);
            phone.send(0, &[0x21; 160]);
            phone.send_raw(&late);
        }
        // Twice.
        19 => {
            let packet = phone.send(0, &[0x33; 160]);
            phone.send_raw(&packet);
        }
        22 => {
            phone.send(EVENT, &[5, 0x8a, 3, 32]);
        }
        24 => phone.send_rtcp(&[
            0x81, 201, 0, 7, 1, 2, 3, 4, 0, 0, 0, 9, 1, 0, 0, 2, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0,
        ]),
        round => {
            phone.send(0, &[0x21 + round as u8; 160]);
        }
    }
}

#[test]
fn nothing_is_allocated_once_the_calls_are_up() {
    let (sender, events) = unbounded();
    let workers = Workers::start(None, 20, sender).unwrap();
    let (to_agent, gateway) = sockets();
    let mut caller = Phone::new(gateway);
    let leg = workers.add_leg(NewLeg {
        endpoint: EndpointId(1),
        sockets: to_agent,
        agent: AgentSpec::Echo,
        session: Some(caller.session()),
        left: None,
    });
    let (to_a, gateway_a) = sockets();
    let (to_b, gateway_b) = sockets();
    let (mut a, b) = (Phone::new(gateway_a), Phone::new(gateway_b));
    let relay_leg = |endpoint, sockets, phone: &Phone| RelayLeg {
        endpoint: EndpointId(endpoint),
        sockets,
        session: phone.session(),
        continuity: Default::default(),
    };
    let pair = workers.add_relay(NewRelay {
        legs: [relay_leg(2, to_a, &a), relay_leg(3, to_b, &b)],
        rules: Rules::default(),
        states: None,
    });

    let mut run = |rounds: u32| {
        for round in 0..rounds {
            talk(&mut caller, round);
            talk(&mut a, round);
            // The grid is the clock: one frame comes back a packet time.
            caller.receive();
            while b.try_receive().is_some() {}
        }
    };
    // Longer than until the first reports, so that all has been done once.
    run(210);
    COUNTED.store(thread("media-0"), SeqCst);
    run(150);
    assert_eq!(CALLS.load(SeqCst), 0, "allocations on the worker's thread");
    let heard = leg.stats()[0].stream();
    assert!(
        heard.packets > 300 && heard.reordered > 10 && heard.duplicates > 10,
        "{heard:?}"
    );
    assert!(leg.stats()[0].buffer().unwrap().concealed_ms > 0);
    // A new call is not up yet: what counts does count.
    let (to_another, _) = sockets();
    workers.add_leg(NewLeg {
        endpoint: EndpointId(4),
        sockets: to_another,
        agent: AgentSpec::Echo,
        session: None,
        left: None,
    });
    eventually("a new call is counted", || CALLS.load(SeqCst) > 0);
    COUNTED.store(0, SeqCst);
    eventually("the relay has relayed", || pair.stats()[1].sent_packets() > 250);
    assert!(events.try_iter().count() > 5);
}
