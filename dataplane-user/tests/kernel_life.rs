//! What outlives the process: media goes on while nobody is there, and the next process takes it over without losing a
//! packet, whatever it finds.
#![cfg(feature = "ebpf")]
#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]

mod kernel_support;

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use aya::programs::{SchedClassifier, TcAttachType};
use kernel_support::net::{Net, exchange, knock, socket};
use kernel_support::pinned::{BpfFs, Killed, Stream, WORKER, be_killed, pinned};
use kernel_support::{Call, Lanes, Namespace, is_root, rtp};
use voxlane_common::drops::DropReason;
use voxlane_common::flow::LAYOUT;
use voxlane_common::outcome::Outcome;
use voxlane_dataplane::kernel::{KernelConfig, KernelError, KernelLane, detach};
use voxlane_dataplane::media_plane::{AttachMode, AttachPolicy};

const OTHER: &str = "is_the_process_that_is_killed";

#[test]
fn is_the_process_that_is_killed() {
    be_killed();
}

/// A network, a BPF file system and the two ends of a call.
struct Story {
    caller: UdpSocket,
    callee: UdpSocket,
    call: Call,
    // Lanes, then pins, then namespaces.
    bpf: BpfFs,
    net: Net,
}

impl Story {
    fn new() -> Self {
        let (net, call) = (Net::new(), Call::across());
        Self {
            caller: socket(&net.caller, call.caller),
            callee: socket(&net.callee, call.callee),
            call,
            bpf: BpfFs::new(),
            net,
        }
    }

    fn config(&self) -> KernelConfig {
        pinned(self.bpf.pin())
    }

    fn start(&self) -> KernelLane {
        self.net.gateway.start(self.config())
    }

    /// A lane that has ended, as processes should, with a call in it.
    fn left(&self, config: KernelConfig) -> [Stream; 2] {
        let lane = self.net.gateway.start(config);
        lane.program(&self.call.pair(), None).unwrap();
        let streams = self.streams();
        self.end(lane);
        streams
    }

    /// Ends a lane where it lives: a filter of clsact is removed by who is there.
    fn end(&self, lane: KernelLane) {
        self.net.gateway.run(move || drop(lane));
    }

    fn streams(&self) -> [Stream; 2] {
        Stream::both_ways(&self.call, &self.caller, &self.callee)
    }

    fn detach(&self) {
        let pin = self.bpf.pin();
        self.net.gateway.run(move || detach(&pin)).unwrap();
    }
}

fn go_on(streams: &[Stream; 2]) {
    streams.iter().for_each(Stream::goes_on);
}

fn are_whole(streams: [Stream; 2]) {
    streams.into_iter().for_each(Stream::arrives_whole);
}

/// Interfaces with an XDP program, and how many tc programs they have.
fn attached(gateway: &Namespace) -> (Vec<&'static str>, usize) {
    gateway.run(|| {
        let said = |program: &str, arguments: &[&str]| {
            let output = std::process::Command::new(program).args(arguments).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let interfaces = ["g0", "g1"];
        let has_xdp = |name: &&str| said("ip", &["link", "show", "dev", name]).contains("xdp");
        let paces = |name: &&str| {
            // Before Linux 6.6 there is no TCX to be asked.
            let tcx = SchedClassifier::query_tcx(name, TcAttachType::Ingress).map_or(0, |(_, found)| found.len());
            let filters = said("tc", &["filter", "show", "dev", name, "ingress"]);
            tcx + filters.lines().filter(|line| line.contains(" pace")).count()
        };
        (
            interfaces.into_iter().filter(has_xdp).collect(),
            interfaces.iter().map(paces).sum(),
        )
    })
}

const NOTHING: (Vec<&str>, usize) = (Vec::new(), 0);

fn count(lane: &KernelLane, wanted: Outcome) -> u64 {
    let mut counters = lane.counters().into_iter();
    counters.find(|(outcome, _)| *outcome == wanted).unwrap().1
}

#[test]
fn after_kill_9_media_goes_on_and_is_adopted_without_losing_a_packet() {
    if !is_root() {
        return;
    }
    let story = Story::new();
    let killed = Killed::start(&story.net, &story.bpf, OTHER);
    let streams = story.streams();
    go_on(&streams);
    killed.kill();
    go_on(&streams);
    // The host has long forgotten the neighbours.
    story.net.gateway.sh("ip neigh flush all");
    go_on(&streams);

    let lane = story.start();
    go_on(&streams);
    assert!(lane.adopted());
    assert_eq!((lane.orphans(), lane.legs()), (2, 0));
    assert!(lane.holds_orphan(story.call.caller_side) && lane.holds_orphan(story.call.callee_side));
    let worker = WORKER.parse().unwrap();
    assert!(!lane.holds_orphan(worker));
    assert_eq!(attached(&story.net.gateway), (vec!["g0", "g1"], 2));

    // The counts go on.
    let [sent, back] = [story.call.caller_side, story.call.callee_side].map(|local| lane.read(local).unwrap());
    assert!(
        sent.received.packets > 120 && back.received.packets > 120,
        "{sent:?} {back:?}"
    );
    assert_eq!(sent.received.source, Some(story.call.caller));
    assert!(count(&lane, Outcome::Redirected) > 240);

    // What was a worker's is nobody's.
    let unallocated = Outcome::Dropped(DropReason::Unallocated);
    let before = count(&lane, unallocated);
    story.caller.send_to(&rtp(0, 1, 1), worker).unwrap();
    streams[0].goes_on();
    assert_eq!(count(&lane, unallocated), before + 1);

    // A call on ports of an earlier process's begins anew.
    are_whole(streams);
    lane.program(&story.call.pair(), None).unwrap();
    assert_eq!((lane.orphans(), lane.legs()), (0, 2));
    assert_eq!(lane.read(story.call.caller_side).unwrap().received.packets, 0);
    exchange(&story.caller, story.call.caller_side, &story.callee, &rtp(0, 1, 7));
    assert_eq!(lane.read(story.call.caller_side).unwrap().received.packets, 1);
    lane.remove(story.call.caller_side);
    lane.remove(story.call.callee_side);
    story.end(lane);
    assert_eq!(attached(&story.net.gateway), NOTHING);
    assert!(!story.bpf.pin().exists());
}

#[test]
fn quiet_orphans_end() {
    if !is_root() {
        return;
    }
    let story = Story::new();
    are_whole(story.left(story.config()));
    let lane = story.start();
    lane.drop_quiet_orphans(Duration::from_secs(60));
    assert_eq!(lane.orphans(), 2);
    lane.drop_quiet_orphans(Duration::ZERO);
    assert_eq!(lane.orphans(), 0);
    assert!(!lane.holds_orphan(story.call.caller_side));
    story.end(lane);
    assert!(!story.bpf.pin().exists());
}

#[test]
fn a_lane_without_calls_takes_everything_with_it_and_one_with_calls_nothing() {
    if !is_root() {
        return;
    }
    let story = Story::new();
    let lane = story.start();
    assert!(!lane.adopted());
    assert_eq!(attached(&story.net.gateway), (vec!["g0", "g1"], 2));
    story.end(lane);
    assert_eq!(attached(&story.net.gateway), NOTHING);
    assert!(!story.bpf.pin().exists());

    let streams = story.left(story.config());
    assert_eq!(attached(&story.net.gateway), (vec!["g0", "g1"], 2));
    go_on(&streams);
    are_whole(streams);
    story.detach();
    assert_eq!(attached(&story.net.gateway), NOTHING);
    assert!(!story.bpf.pin().exists());
    let pin = story.bpf.pin();
    assert!(detach(&pin).unwrap().is_empty());
}

#[test]
fn another_port_range_carries_the_calls_over_without_losing_a_packet() {
    if !is_root() {
        return;
    }
    let story = Story::new();
    let killed = Killed::start(&story.net, &story.bpf, OTHER);
    let streams = story.streams();
    killed.kill();
    story.net.gateway.sh("ip neigh flush all");
    let before = story.bpf.maps();
    let lane = story.net.gateway.start(KernelConfig {
        first_port: 9_000,
        last_port: 10_499,
        ..story.config()
    });
    go_on(&streams);
    assert!(lane.adopted());
    assert_eq!(lane.orphans(), 2);
    let (there, after) = (lane.read(story.call.caller_side).unwrap(), story.bpf.maps());
    assert_eq!(there.received.source, Some(story.call.caller));
    assert!(after.len() == 1 && before != after, "{before:?} {after:?}");
    are_whole(streams);
    story.end(lane);

    // One that has none of the calls' ports.
    let lane = story.net.gateway.start(KernelConfig {
        first_port: 20_000,
        last_port: 20_099,
        ..story.config()
    });
    assert_eq!(lane.orphans(), 0);
    assert_eq!(story.bpf.maps().len(), 1);
}

#[test]
fn another_layout_is_replaced_in_the_links() {
    if !is_root() {
        return;
    }
    let story = Story::new();
    are_whole(story.left(story.config()));
    let (pin, [maps]) = (story.bpf.pin(), story.bpf.maps().try_into().unwrap());
    fs::rename(pin.join(&maps), pin.join("v1-10000-10099")).unwrap();
    let links = || {
        let names = story.bpf.names().into_iter().filter(|name| name.starts_with("relay"));
        let inode = |name: String| fs::metadata(pin.join(&name)).map(|found| (name, found.ino())).unwrap();
        names.map(inode).collect::<Vec<_>>()
    };
    let before = links();
    assert_eq!(before.len(), 2);
    let lane = story.start();
    assert_eq!((lane.adopted(), lane.orphans()), (false, 0));
    assert_eq!((links(), story.bpf.maps()), (before, vec![maps]));
    lane.program(&story.call.pair(), None).unwrap();
    are_whole(story.streams());
}

#[test]
fn a_second_gateway_is_refused() {
    if !is_root() {
        return;
    }
    let story = Story::new();
    let lane = story.start();
    lane.program(&story.call.pair(), None).unwrap();
    let streams = story.streams();
    let config = story.config();
    let second = story
        .net
        .gateway
        .run(move || KernelLane::start(&config, |_| {}).map(drop));
    let error = second.unwrap_err();
    assert!(matches!(error, KernelError::InUse(_)), "{error}");
    assert!(error.to_string().contains("media.pin"), "{error}");
    assert!(matches!(detach(&story.bpf.pin()), Err(KernelError::InUse(_))));
    go_on(&streams);
    are_whole(streams);
}

#[test]
fn interfaces_may_go_and_come_back_meanwhile() {
    if !is_root() {
        return;
    }
    let story = Story::new();
    let gateway = &story.net.gateway;
    are_whole(story.left(story.config()));
    let (_, index) = gateway.interface("g0");
    for number in [index, index + 100] {
        gateway.sh(&format!(
            "ip link del g0
             ip link add g0 index {number} type veth peer name e0"
        ));
        gateway.give("e0", &story.net.caller);
        story.net.caller.sh("ethtool -K e0 gro on tx off
             ip addr add 10.200.1.9/24 dev e0
             ip link set e0 up");
        gateway.sh("ip addr add 10.200.1.1/24 dev g0
             ip link set g0 up");
        let lane = story.start();
        assert_eq!(attached(gateway), (vec!["g0", "g1"], 2));
        assert_eq!(lane.orphans(), 2);
        // The call goes on.
        are_whole(story.streams());
        story.end(lane);
    }
    let links = story.bpf.names().into_iter().filter(|name| name.starts_with("relay"));
    assert_eq!(links.count(), 2);

    // One that is not of the lane any more.
    let lane = gateway.start(KernelConfig {
        interfaces: vec!["g1".to_owned()],
        ..story.config()
    });
    assert_eq!(attached(gateway), (vec!["g1"], 1));
    story.end(lane);
}

#[test]
fn generic_mode_stays_while_there_are_calls_unless_it_is_told_to_go() {
    if !is_root() {
        return;
    }
    let story = Story::new();
    let with = |policy| KernelConfig {
        policy,
        ..story.config()
    };
    let modes = |lane: &KernelLane| lane.interfaces().iter().map(|row| row.mode).collect::<Vec<_>>();
    let streams = story.left(with(AttachPolicy::Generic));
    let lane = story.net.gateway.start(with(AttachPolicy::Auto));
    assert_eq!(modes(&lane), [AttachMode::Generic; 2]);
    go_on(&streams);
    are_whole(streams);
    story.end(lane);
    let lane = story.net.gateway.start(with(AttachPolicy::Native));
    assert_eq!(modes(&lane), [AttachMode::Native; 2]);
    assert_eq!(lane.orphans(), 2);
    are_whole(story.streams());
    story.end(lane);
    let lane = story.net.gateway.start(with(AttachPolicy::Generic));
    assert_eq!(modes(&lane), [AttachMode::Generic; 2]);
    knock(&story.caller, story.call.caller_side, &story.callee, &rtp(0, 0, 1));
    let links = story.bpf.names().into_iter().filter(|name| name.starts_with("relay"));
    assert_eq!(links.count(), 2);
}

/// Spoils what is pinned; given the name of the maps' directory.
type Damage<'a> = &'a dyn Fn(&str);

#[test]
fn whatever_is_found_it_starts() {
    if !is_root() {
        return;
    }
    let story = Story::new();
    let pin = story.bpf.pin();
    let (_, g0) = story.net.gateway.interface("g0");
    let damages: [(&str, Damage<'_>); 6] = [
        ("a map is missing", &|maps| {
            fs::remove_file(pin.join(maps).join("FLOWS")).unwrap()
        }),
        ("no map is left", &|maps| {
            for map in fs::read_dir(pin.join(maps)).unwrap() {
                fs::remove_file(map.unwrap().path()).unwrap();
            }
        }),
        ("a map is another", &|maps| {
            let directory = pin.join(maps);
            fs::rename(directory.join("PORT_MAP"), directory.join("FLOWS")).unwrap();
        }),
        ("maps are for other ports", &|maps| {
            fs::rename(pin.join(maps), pin.join(format!("v{LAYOUT}-10000-10009"))).unwrap();
        }),
        ("a link is a map", &|maps| {
            let link = pin.join(format!("relay-native-{g0}"));
            fs::rename(pin.join(maps).join("LOST"), link).unwrap();
        }),
        ("a directory stands in the way", &|_| {
            fs::create_dir_all(pin.join(format!("pace-clsact-{g0}-1-1"))).unwrap();
        }),
    ];
    for (what, damage) in damages {
        are_whole(story.left(story.config()));
        let [maps] = story.bpf.maps().try_into().unwrap();
        damage(&maps);
        let lane = story.start();
        lane.program(&story.call.pair(), None).expect(what);
        are_whole(story.streams());
        assert_eq!(attached(&story.net.gateway), (vec!["g0", "g1"], 2), "{what}");
        lane.remove(story.call.caller_side);
        lane.remove(story.call.callee_side);
        lane.drop_quiet_orphans(Duration::ZERO);
        story.end(lane);
        assert_eq!(
            (attached(&story.net.gateway), story.bpf.names()),
            (NOTHING, vec![]),
            "{what}"
        );
    }
}

#[test]
fn without_a_bpf_file_system_the_lane_ends_with_the_process() {
    if !is_root() {
        return;
    }
    let story = Story::new();
    let elsewhere = std::env::temp_dir().join("voxlane-no-bpf");
    let lane = story.net.gateway.start(pinned(elsewhere.clone()));
    assert!(!elsewhere.exists());
    assert_eq!(attached(&story.net.gateway), (vec!["g0", "g1"], 2));
    story.end(lane);
    assert_eq!(attached(&story.net.gateway), NOTHING);
}
