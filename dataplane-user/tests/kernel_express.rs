//! The worker lane past the network stack: a whole plane in a namespace of its own, whose workers send and receive by AF_XDP.
#![cfg(feature = "ebpf")]
#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]

mod kernel_support;

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use crossbeam_channel::unbounded;
use kernel_support::bench::until;
use kernel_support::net::{Net, exchange, knock, socket};
use kernel_support::{Call, above, is_root, leg, report, rtp};
use voxlane_dataplane::lane::Lane;
use voxlane_dataplane::media_plane::{
    AgentSpec, AttachPolicy, Endpoint, IoMode, IoStatus, MediaError, MediaPlane, Pacing, PlaneStatus, Session,
};
use voxlane_dataplane::plane::{IoChoice, KernelChoice, Plane, PlaneConfig};

/// Packets of a run.
const PACKETS: u16 = 50;

/// What the network stack counts, and would count more of if media took it: packets sent, datagrams received.
const COUNTED: [(&str, &str, &str); 2] = [("snmp", "Ip", "OutRequests"), ("snmp", "Udp", "InDatagrams")];

fn config(io: IoChoice) -> PlaneConfig {
    PlaneConfig {
        // Two workers, on whatever cores there are: they share the queue of each interface.
        worker_cores: Some(vec![0, 0]),
        io,
        kernel: KernelChoice::On {
            policy: AttachPolicy::Auto,
            interfaces: vec!["g0".to_owned(), "g1".to_owned()],
        },
        ..PlaneConfig::with_ports(10_000, 10_099)
    }
}

/// A gateway whose workers relay.
struct Lab {
    net: Net,
    plane: Option<Arc<Plane>>,
}

/// A relayed call, both of whose ends are heard.
struct Talk {
    sides: [Endpoint; 2],
    ends: [UdpSocket; 2],
}

impl Lab {
    fn new(io: IoChoice) -> Self {
        let net = Net::new();
        let (tell, _) = unbounded();
        let plane = net.gateway.run(move || Plane::start(config(io), tell)).unwrap();
        Self {
            net,
            plane: Some(plane),
        }
    }

    fn run<R: Send + 'static>(&self, job: impl FnOnce(&Plane) -> R + Send + 'static) -> R {
        let plane = Arc::clone(self.plane.as_ref().unwrap());
        self.net.gateway.run(move || job(&plane))
    }

    fn status(&self) -> PlaneStatus {
        self.run(|plane| plane.status())
    }

    /// Frames that have ended so.
    fn outcome(&self, name: &str) -> u64 {
        let outcomes = self.status().kernel.unwrap().outcomes;
        outcomes.iter().find(|(outcome, _)| outcome == name).unwrap().1
    }

    /// Figures of the gateway's network stack.
    fn counted(&self) -> [u64; 2] {
        self.net.gateway.run(|| {
            COUNTED.map(|(file, table, column)| {
                let text = std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap();
                let mut lines = text.lines().filter(|line| line.starts_with(&format!("{table}: ")));
                let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
                let place = names.split(' ').position(|name| name == column).unwrap();
                values.split(' ').nth(place).unwrap().parse().unwrap()
            })
        })
    }

    /// A call of a worker's, between ports `number` above those of `call`.
    fn talk(&self, call: Call, number: u16) -> Talk {
        let moved = |address: SocketAddr| SocketAddr::new(address.ip(), address.port() + number);
        let far = [moved(call.caller), moved(call.callee)];
        let near = [call.caller_side.ip(), call.callee_side.ip()];
        let sides = near.map(|ip| self.run(move |plane| plane.open(ip)).unwrap());
        for (side, far) in sides.into_iter().zip(far) {
            let session: Session = leg(side.rtp, far, 101).session;
            self.run(move |plane| plane.program(side.id, session)).unwrap();
        }
        let [a, b] = sides.map(|side| side.id);
        self.run(move |plane| plane.relay(a, b)).unwrap();
        loop {
            match self.run(move |plane| plane.prefer(a, Lane::Worker)) {
                Ok(lane) => break assert_eq!(lane, Lane::Worker),
                // Another test of this process has forked, and its child has not let go of our sockets yet.
                Err(MediaError::Io { source, .. }) if source.kind() == ErrorKind::AddrInUse => {}
                Err(error) => panic!("{error}"),
            }
        }
        let ends = [socket(&self.net.caller, far[0]), socket(&self.net.callee, far[1])];
        let talk = Talk { sides, ends };
        talk.heard(0);
        talk
    }
}

impl Drop for Lab {
    /// The sockets of a plane are closed in its namespace.
    fn drop(&mut self) {
        let plane = self.plane.take();
        self.net.gateway.run(move || drop(plane));
    }
}

impl Talk {
    /// Packet `number` and its report go each way, and come unchanged from the port that the far end knows.
    fn heard(&self, number: u16) {
        let [caller, callee] = &self.ends;
        for (from, to, place) in [(caller, callee, 0), (callee, caller, 1)] {
            let packet = rtp(0, number, 7 + place as u32);
            let heard = exchange(from, self.sides[place].rtp, to, &packet);
            assert_eq!(heard, (packet, self.sides[1 - place].rtp));
        }
    }
}

#[test]
fn relayed_media_goes_past_the_network_stack() {
    if !is_root() {
        return;
    }
    let lab = Lab::new(IoChoice::AfXdp);
    let in_use = IoStatus {
        mode: IoMode::AfXdp,
        reason: None,
    };
    assert_eq!(lab.status().io, in_use);
    // Two calls, one for each worker, in each IP.
    let talks = [
        lab.talk(Call::across(), 0),
        lab.talk(Call::across(), 4),
        lab.talk(Call::across_v6(), 0),
        lab.talk(Call::across_v6(), 4),
    ];
    assert!(lab.status().workers.iter().all(|worker| worker.residents == 2));
    // The first packets may have taken the stack, while nobody knew the neighbours.
    until("the workers know the way", || {
        let [sent, _] = lab.counted();
        talks.iter().for_each(|talk| talk.heard(0));
        lab.counted()[0] == sent
    });
    let (before, handed) = (lab.counted(), lab.outcome("to_worker"));
    for number in 1..=PACKETS {
        talks.iter().for_each(|talk| talk.heard(number));
    }
    assert_eq!(lab.outcome("to_worker") - handed, 8 * u64::from(PACKETS));
    assert_eq!(lab.counted(), before);
    assert!(lab.status().workers.iter().all(|worker| worker.express_lost == 0));
    for talk in &talks {
        for side in talk.sides {
            let flow = lab.run(move |plane| plane.flow(side.id)).unwrap();
            assert!(flow.received.packets > u64::from(PACKETS), "{flow:?}");
            // Those that were repeated count as less than none.
            assert!(flow.received.lost <= 0, "{flow:?}");
            assert_eq!(flow.drops, vec![]);
        }
    }
}

#[test]
fn reports_go_past_the_network_stack_and_what_is_too_long_through_it() {
    if !is_root() {
        return;
    }
    let lab = Lab::new(IoChoice::Auto);
    let talk = lab.talk(Call::across(), 0);
    let [caller, callee] = [Call::across().caller, Call::across().callee].map(above);
    let ends = [socket(&lab.net.caller, caller), socket(&lab.net.callee, callee)];
    let packet = report(7);
    let heard = exchange(&ends[0], above(talk.sides[0].rtp), &ends[1], &packet);
    assert_eq!(heard, (packet, above(talk.sides[1].rtp)));

    lab.net.gateway.sh("ip link set g0 mtu 2500
         ip link set g1 mtu 2500");
    lab.net.caller.sh("ip link set e0 mtu 2500");
    lab.net.callee.sh("ip link set e1 mtu 2500");
    let passed = lab.outcome("pass_worker");
    let mut long = rtp(0, 9, 7);
    long.resize(1700, 0x55);
    // Twice the usual rate of a 20 ms packet is let through, and this is more than that in bytes once only.
    let heard = exchange(&talk.ends[0], talk.sides[0].rtp, &talk.ends[1], &long);
    assert_eq!(heard.0, long);
    assert!(lab.outcome("pass_worker") > passed);
}

#[test]
fn a_neighbour_that_moves_is_followed() {
    if !is_root() {
        return;
    }
    let lab = Lab::new(IoChoice::AfXdp);
    let talk = lab.talk(Call::across(), 0);
    for (number, mac) in (1..).zip(["02:00:00:00:55:01", "02:00:00:00:55:02"]) {
        lab.net.callee.sh(&format!(
            "ip link set e1 down
             ip link set e1 address {mac}
             ip link set e1 up"
        ));
        lab.net.introduce(Call::across().callee, "g1");
        // Until the workers are told, packets go to the old address.
        let packet = rtp(0, number, 7);
        knock(&talk.ends[0], talk.sides[0].rtp, &talk.ends[1], &packet);
        until("nothing takes the stack", || {
            let [sent, _] = lab.counted();
            talk.heard(number);
            lab.counted()[0] == sent
        });
    }
}

#[test]
fn what_is_damaged_on_the_way_is_counted_and_not_heard() {
    if !is_root() {
        return;
    }
    let lab = Lab::new(IoChoice::AfXdp);
    let talk = lab.talk(Call::across(), 0);
    let lost = || {
        let workers = lab.status().workers;
        workers.iter().map(|worker| worker.express_lost).sum::<u64>()
    };
    assert_eq!(lost(), 0);
    // A virtual interface that leaves checksums to hardware there is not sends them half made: that is no damage.
    lab.net.caller.sh("ethtool -K e0 tx on");
    talk.heard(1);
    lab.net.caller.sh("ethtool -K e0 tx off");
    talk.heard(2);

    let raw = lab.net.caller.run(|| {
        let raw = socket2::Protocol::from(libc::IPPROTO_RAW);
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::RAW, Some(raw)).unwrap()
    });
    let (from, to) = (Call::across().caller, talk.sides[0].rtp);
    let frame = kernel_support::frames::frame(
        &kernel_support::frames::Header::of_relay([[0; 6], [0; 6]], None),
        from,
        to,
        &rtp(0, 3, 7),
        true,
    );
    let mut packet = frame[14..].to_vec();
    *packet.last_mut().unwrap() ^= 1;
    raw.send_to(&packet, &to.into()).unwrap();
    until("the damage is counted", || lost() == 1);
    // The next that is heard is the next that is whole.
    talk.heard(4);
}

#[test]
#[ignore = "needs fq: cargo xtask vm"]
fn what_an_agent_says_to_a_paced_leg_waits_in_the_queue_for_its_time() {
    if !is_root() {
        return;
    }
    for (pacing, io) in [
        (Pacing::Always, IoChoice::Sockets),
        (Pacing::Always, IoChoice::AfXdp),
        (Pacing::Off, IoChoice::Sockets),
    ] {
        let lab = Lab::new(io);
        lab.net.gateway.sh("tc qdisc replace dev g0 root fq");
        let far = Call::across().caller;
        let phone = socket(&lab.net.caller, far);
        let side = lab.run(|plane| plane.open(Call::across().caller_side.ip())).unwrap();
        let session = Session {
            pacing,
            ..leg(side.rtp, far, 101).session
        };
        lab.run(move |plane| {
            plane.program(side.id, session)?;
            plane.attach(side.id, AgentSpec::Tone { frequency: 440 })
        })
        .unwrap();
        for _ in 0..PACKETS {
            phone.recv(&mut [0; 200]).unwrap();
        }
        // How often fq has held a packet back.
        let shown = lab.net.gateway.run(|| {
            let mut tc = std::process::Command::new("tc");
            tc.args(["-s", "qdisc", "show", "dev", "g0"]).output()
        });
        let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
        // First the flows that wait now, then packets that have ever waited.
        let (_, count) = shown.rsplit_once("throttled ").unwrap_or_else(|| panic!("{shown}"));
        let digits: String = count.chars().take_while(char::is_ascii_digit).collect();
        let held: u16 = digits.parse().unwrap();
        match pacing {
            Pacing::Off => assert_eq!(held, 0),
            Pacing::Auto | Pacing::Always => assert!(held > PACKETS / 2, "{held} of {PACKETS} were held, {io:?}"),
        }
    }
}

#[test]
fn sockets_are_used_where_they_are_wanted_or_nothing_else_can_be_had() {
    if !is_root() {
        return;
    }
    let lab = Lab::new(IoChoice::Sockets);
    let status = lab.status().io;
    assert_eq!(status.mode, IoMode::Sockets);
    assert_eq!(status.reason.as_deref(), Some("media.io is \"sockets\""));
    lab.talk(Call::across(), 0).heard(1);
    assert_eq!(lab.outcome("to_worker"), 0);

    let without = |io| {
        let (tell, _) = unbounded();
        let config = PlaneConfig {
            kernel: KernelChoice::Off,
            ..config(io)
        };
        Plane::start(config, tell)
    };
    let status = without(IoChoice::Auto).unwrap().status().io;
    assert_eq!(status.mode, IoMode::Sockets);
    assert_eq!(status.reason.as_deref(), Some("media.xdp is \"off\""));
    match without(IoChoice::AfXdp) {
        Err(error @ MediaError::Io { .. }) => assert!(error.to_string().contains("AF_XDP"), "{error}"),
        other => panic!("{:?}", other.map(drop)),
    }
}
