//! Calls that change lanes while media flows: a whole plane with the kernel lane in a namespace of its own, real sockets at
//! both ends, and at each a recording without a gap.
#![cfg(feature = "ebpf")]
#![allow(clippy::unwrap_used, reason = "in a test, an assertion")]

mod kernel_support;

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};
use kernel_support::bench::until;
use kernel_support::far::{Far, Stream, Window, recording, sequence, ssrc, timestamp};
use kernel_support::net::{Net, socket};
use kernel_support::{Call, above, is_root, leg};
use voxlane_common::drops::DropReason;
use voxlane_dataplane::lane::{Lane, Reason};
use voxlane_dataplane::media_plane::{
    AgentSpec, AttachPolicy, Direction, Endpoint, FlowReport, MediaError, MediaEvent, MediaPlane, Session,
};
use voxlane_dataplane::plane::{KernelChoice, Plane, PlaneConfig, Policing, Rules};

/// Time between two packets, and media in one.
const PTIME: Duration = Duration::from_millis(20);

/// Telephone events as the caller numbers them, and as the callee does.
const EVENTS: [u8; 2] = [101, 96];

/// Moves of one call.
const MOVES: u32 = 100;

const CALLER: Stream = Stream {
    ssrc: 0xca11e4,
    sequence: 65_400,
    timestamp: u32::MAX - 40_000,
    event: EVENTS[0],
};

const CALLEE: Stream = Stream {
    ssrc: 0xca11ee,
    sequence: 7,
    timestamp: 90_000,
    event: EVENTS[1],
};

/// A gateway between a caller and a callee who have been told of each other.
struct Lab {
    net: Net,
    plane: Option<Arc<Plane>>,
    events: Receiver<MediaEvent>,
    a: Endpoint,
    b: Endpoint,
    caller: UdpSocket,
    callee: UdpSocket,
}

impl Lab {
    fn new(police: Policing) -> Self {
        let net = Net::new();
        let (tell, events) = unbounded();
        let config = PlaneConfig {
            kernel: KernelChoice::On {
                policy: AttachPolicy::Auto,
                interfaces: vec!["g0".to_owned(), "g1".to_owned()],
            },
            rules: Rules {
                police,
                ..Rules::default()
            },
            ..PlaneConfig::with_ports(10_000, 10_099)
        };
        let plane = net.gateway.run(move || Plane::start(config, tell)).unwrap();
        let call = Call::across();
        let open = |ip: IpAddr| {
            let plane = Arc::clone(&plane);
            net.gateway.run(move || plane.open(ip)).unwrap()
        };
        let (a, b) = (open(call.caller_side.ip()), open(call.callee_side.ip()));
        // The caller is behind NAT: it does not send from where it says it does.
        let nat = SocketAddr::new(call.caller.ip(), call.caller.port() + 10);
        let (caller, callee) = (socket(&net.caller, nat), socket(&net.callee, call.callee));
        let lab = Self {
            net,
            plane: Some(plane),
            events,
            a,
            b,
            caller,
            callee,
        };
        for (endpoint, session) in [(a, lab.session_a()), (b, lab.session_b())] {
            lab.run(move |plane| plane.program(endpoint.id, session)).unwrap();
        }
        lab
    }

    fn session_a(&self) -> Session {
        leg(self.a.rtp, Call::across().caller, EVENTS[0]).session
    }

    fn session_b(&self) -> Session {
        leg(self.b.rtp, Call::across().callee, EVENTS[1]).session
    }

    /// The plane's functions make sockets: they belong into the gateway's namespace.
    fn run<R: Send + 'static>(&self, job: impl FnOnce(&Plane) -> R + Send + 'static) -> R {
        let plane = Arc::clone(self.plane.as_ref().unwrap());
        self.net.gateway.run(move || job(&plane))
    }

    fn relay(&self) -> [Lane; 2] {
        let (a, b) = (self.a.id, self.b.id);
        self.run(move |plane| plane.relay(a, b)).unwrap()
    }

    fn prefer(&self, endpoint: Endpoint, lane: Lane) -> Lane {
        loop {
            match self.run(move |plane| plane.prefer(endpoint.id, lane)) {
                Ok(lane) => return lane,
                // Another test of this process has forked, and its child has not let go of our sockets yet. The call stays
                // where it is.
                Err(MediaError::Io { source, .. }) if source.kind() == ErrorKind::AddrInUse => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn attach(&self, endpoint: Endpoint, agent: AgentSpec) {
        self.run(move |plane| plane.attach(endpoint.id, agent)).unwrap();
    }

    fn flow(&self, endpoint: Endpoint) -> FlowReport {
        self.run(move |plane| plane.flow(endpoint.id)).unwrap()
    }

    /// Both far ends send from now on: the callee once it is known where the caller is.
    fn talk(&self, spacing: Duration, window: Option<&Window>) -> [Far; 2] {
        let caller = Far::start(&self.caller, self.a.rtp, CALLER, spacing, window);
        until("the caller is found", || self.flow(self.a).received.source.is_some());
        let other = window.map(Window::other);
        [
            caller,
            Far::start(&self.callee, self.b.rtp, CALLEE, spacing, other.as_ref()),
        ]
    }

    /// A call that is relayed in the worker lane, both of whose ends are heard: everybody's hardware address is known.
    fn talk_in_worker(&self, spacing: Duration) -> [Far; 2] {
        self.relay();
        assert_eq!(self.prefer(self.a, Lane::Worker), Lane::Worker);
        // Media comes when it comes; a flood comes as fast as it is taken.
        let window = (spacing < PTIME).then(Window::default);
        let fars = self.talk(spacing, window.as_ref());
        fars.iter().for_each(|far| far.wait_for(3, |_| true));
        fars
    }

    /// Moves the call; after each move both far ends hear something. Moves come at every time of a packet.
    fn move_often(&self, fars: &[Far; 2], moves: u32) {
        for number in 0..moves {
            let lane = if number % 2 == 0 { Lane::Kernel } else { Lane::Worker };
            let endpoint = if number % 3 == 0 { self.b } else { self.a };
            std::thread::sleep(PTIME * (number * 7 % 20) / 20);
            assert_eq!(self.prefer(endpoint, lane), lane, "move {number}");
            fars.iter().for_each(|far| far.wait_for(2, |_| true));
        }
    }

    /// Checks that every key was told once, when nobody sends any more.
    fn check_keys(&self, [a, b]: &[Far; 2]) {
        let digits = [self.flow(self.a).digits, self.flow(self.b).digits];
        assert_eq!(digits, [Stream::keys(a.sent()), Stream::keys(b.sent())]);
        let pressed = self.events.try_iter();
        let pressed = pressed.filter(|event| matches!(event, MediaEvent::Digit { .. }));
        assert_eq!(pressed.count() as u64, digits.iter().sum::<u64>());
    }

    /// Checks what has arrived at both ends when nobody sends any more: all of it, once. The first packet of a caller behind
    /// NAT is not let through. Returns how many came late.
    fn check(&self, fars: &mut [Far; 2]) -> [usize; 2] {
        let [sent_a, sent_b] = fars.each_mut().map(Far::hush);
        let [far_a, far_b] = fars;
        let (heard_a, heard_b) = (far_a.listen(sent_b), far_b.listen(sent_a - 1));
        let late = [
            CALLER.complete(&heard_b, 1, sent_a, EVENTS[1]),
            CALLEE.complete(&heard_a, 0, sent_b, EVENTS[0]),
        ];
        for heard in [&heard_a, &heard_b] {
            assert!(recording(heard) > 0);
        }
        let (flow_a, flow_b) = (self.flow(self.a), self.flow(self.b));
        let packets = |flow: &FlowReport| [flow.received.packets, flow.sent_packets];
        assert_eq!(packets(&flow_a), [sent_a - 1, sent_b]);
        assert_eq!(packets(&flow_b), [sent_b, sent_a - 1]);
        assert_eq!(flow_a.drops, [(DropReason::Probation.name().to_owned(), 1)]);
        assert_eq!(flow_b.drops, []);
        for flow in [&flow_a, &flow_b] {
            assert_eq!((flow.received.lost, flow.received.duplicates), (0, 0), "{flow:?}");
        }
        assert_eq!(
            [flow_a.received.source, flow_b.received.source],
            [self.caller.local_addr().ok(), self.callee.local_addr().ok()]
        );
        late
    }
}

impl Drop for Lab {
    /// The sockets of a plane are closed in its namespace.
    fn drop(&mut self) {
        let plane = self.plane.take();
        self.net.gateway.run(move || drop(plane));
    }
}

/// A sender report, named `name`, that answers the one named `answered`.
fn report(ssrc: u32, name: u32, answered: u32) -> Vec<u8> {
    let mut packet = vec![0x81, 200, 0, 12];
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(name.to_be_bytes());
    packet.extend([0; 14]);
    let mut block = [0; 24];
    block[16..20].copy_from_slice(&answered.to_be_bytes());
    packet.extend(block);
    packet
}

#[test]
fn a_hundred_moves_of_a_relayed_call_are_not_heard() {
    if !is_root() {
        return;
    }
    let lab = Lab::new(Policing::On);
    let reporters = [
        socket(&lab.net.caller, above(Call::across().caller)),
        socket(&lab.net.callee, above(Call::across().callee)),
    ];
    let mut fars = lab.talk_in_worker(PTIME);
    // A report in one lane, its answer in the other.
    let mut buffer = [0; 200];
    reporters[0]
        .send_to(&report(CALLER.ssrc, 77, 0), above(lab.a.rtp))
        .unwrap();
    reporters[1].recv(&mut buffer).unwrap();
    lab.move_often(&fars, MOVES / 2 - 1);
    reporters[1]
        .send_to(&report(CALLEE.ssrc, 78, 77), above(lab.b.rtp))
        .unwrap();
    let length = reporters[0].recv(&mut buffer).unwrap();
    assert_eq!(buffer[..length], report(CALLEE.ssrc, 78, 77));
    // The program has told of the answer by now, and the reader of events may not have come to it yet.
    until("the round trip is known", || lab.flow(lab.b).rtt_ms.is_some());
    lab.prefer(lab.a, Lane::Worker);
    lab.move_often(&fars, MOVES / 2);
    let late = lab.check(&mut fars);
    lab.check_keys(&fars);
    for endpoint in [lab.a, lab.b] {
        let flow = lab.flow(endpoint);
        assert!(flow.received.mean_jitter_ms < 50.0, "{flow:?}");
    }
    // A packet that waits while its call moves is sent on a moment later: the next one overtakes it only where the machine
    // stands still.
    println!("{late:?} packets were overtaken while their call moved");
    assert!(late.iter().all(|late| *late < MOVES as usize / 10), "{late:?}");
    assert!(lab.flow(lab.b).rtt_ms.is_some());
    assert_eq!(
        (lab.flow(lab.a).lane, lab.flow(lab.a).reason),
        (Lane::Worker, Some(Reason::Requested))
    );
    let userspace = lab.flow(lab.a).userspace_packets;
    assert!(
        userspace > 0 && userspace < fars[0].sent(),
        "both lanes had their part: {userspace}"
    );
}

#[test]
fn moves_of_a_flood_lose_and_repeat_nothing() {
    if !is_root() {
        return;
    }
    let lab = Lab::new(Policing::Off);
    let mut fars = lab.talk_in_worker(Duration::from_millis(1));
    lab.move_often(&fars, MOVES);
    let late = lab.check(&mut fars);
    println!("{late:?} packets were overtaken while their call moved");
}

/// Checks a stream that several senders have sent in turn: one source, every number once and in order, timestamps on the
/// grid that keep up with real time.
fn one_stream(arrivals: &[(std::time::Instant, Vec<u8>)]) {
    let (first, last) = (arrivals.first().unwrap(), arrivals.last().unwrap());
    let audio = |packet: &[u8]| packet[1] & 0x7f == 0;
    for (place, pair) in arrivals.windows(2).enumerate() {
        let [(_, before), (_, after)] = pair else {
            unreachable!()
        };
        assert_eq!(ssrc(after), ssrc(before), "packet {place}");
        assert_eq!(sequence(after), sequence(before).wrapping_add(1), "packet {place}");
        let step = timestamp(after).wrapping_sub(timestamp(before));
        assert_eq!(step % 160, 0, "packet {place}");
        assert!(
            (step as i32) > 0 || !audio(before) || !audio(after),
            "packet {place}: {step}"
        );
    }
    let media = timestamp(&last.1).wrapping_sub(timestamp(&first.1)) / 8;
    let real = last.0.duration_since(first.0).as_millis() as i64;
    let ahead = i64::from(media) - real;
    assert!((-2000..250).contains(&ahead), "{media} ms of media in {real} ms");
}

#[test]
fn an_agent_leaves_and_comes_back_a_hundred_times_in_one_stream() {
    if !is_root() {
        return;
    }
    let lab = Lab::new(Policing::On);
    lab.attach(lab.a, AgentSpec::Tone { frequency: 600 });
    assert_eq!(
        lab.events.recv_timeout(Duration::from_secs(30)),
        Ok(MediaEvent::AgentReady(lab.a.id))
    );
    let mut fars = lab.talk(PTIME, None);
    fars[0].wait_for(3, |_| true);
    for number in 0..MOVES / 2 {
        std::thread::sleep(PTIME * (number * 7 % 20) / 20);
        let lanes = lab.relay();
        // The first packets of the callee wait for its hardware address in the worker lane, not in the kernel lane.
        assert_eq!(lanes, [Lane::Kernel; 2]);
        let of_callee =
            |packet: &[u8]| packet.len() == 172 && (0..40).any(|n| CALLEE.packet(n, EVENTS[0])[12..] == packet[12..]);
        fars[0].wait_for(2, of_callee);
        fars[1].wait_for(2, |_| true);
        std::thread::sleep(PTIME * (number * 3 % 20) / 20);
        lab.attach(lab.a, AgentSpec::Tone { frequency: 600 });
        fars[0].wait_for(2, |packet| !of_callee(packet));
        let port = lab.b.rtp;
        let taken = lab.net.gateway.run(move || UdpSocket::bind(port).is_err());
        assert!(taken, "the ports of the leg that is left alone are held");
    }
    let sent = fars[0].hush();
    fars[1].hush();
    // The agent never stops: what was heard until now.
    one_stream(&fars[0].arrivals());
    one_stream(&fars[1].arrivals());
    // All that the caller has sent was heard by the agent or by the callee: only its first packet was on probation.
    until("all packets are counted", || {
        lab.flow(lab.a).received.packets == sent - 1
    });
    // In this order: the agent goes on.
    let heard = fars[0].count() as u64;
    let flow = lab.flow(lab.a);
    assert_eq!(flow.received.lost, 0, "{flow:?}");
    assert!(flow.sent_packets >= heard - 1, "{flow:?}");
    let (a, b) = (lab.a, lab.b);
    let (report_a, report_b) = lab.run(move |plane| (plane.close(a.id), plane.close(b.id)));
    assert!(report_a.unwrap().flow.received.packets >= sent - 1);
    assert!(
        report_b.unwrap().flow.sent_packets > 0,
        "what a leg has been is not forgotten when it is left alone"
    );
}

#[test]
fn a_lane_that_was_asked_for_stays_until_another_is() {
    if !is_root() {
        return;
    }
    let lab = Lab::new(Policing::On);
    let mut fars = lab.talk_in_worker(PTIME);
    lab.move_often(&fars, 5);
    let (a, b) = (lab.a, lab.b);
    for lane in [Lane::Worker, Lane::Kernel] {
        assert_eq!(lab.prefer(a, lane), lane);
        // A re-INVITE that changes nothing about the media.
        let session = lab.session_b();
        lab.run(move |plane| plane.program(b.id, session)).unwrap();
        assert_eq!((lab.flow(a).lane, lab.flow(b).lane), (lane, lane));
        fars.iter().for_each(|far| far.wait_for(2, |_| true));
    }
    lab.check(&mut fars);
}

#[test]
fn a_call_on_hold_moves_and_is_taken_off_hold_in_the_other_lane() {
    if !is_root() {
        return;
    }
    let lab = Lab::new(Policing::On);
    let fars = lab.talk_in_worker(PTIME);
    let b = lab.b;
    for lane in [Lane::Kernel, Lane::Worker] {
        let mut held = lab.session_b();
        held.direction = Direction::RecvOnly;
        lab.run(move |plane| plane.program(b.id, held)).unwrap();
        assert_eq!(lab.prefer(lab.a, lane), lane);
        let before = lab.flow(lab.b).sent_packets;
        fars[0].wait_for(3, |_| true);
        assert_eq!(lab.flow(lab.b).sent_packets, before, "what is held is not sent");
        let session = lab.session_b();
        lab.run(move |plane| plane.program(b.id, session)).unwrap();
        fars[1].wait_for(2, |_| true);
    }
    let flow = lab.flow(lab.a);
    assert_eq!(flow.received.lost, 0, "{flow:?}");
    let held = flow
        .drops
        .iter()
        .find(|(reason, _)| reason == DropReason::Held.name())
        .unwrap()
        .1;
    assert!(held >= 2);
    assert!(flow.received.packets - held <= lab.flow(lab.b).sent_packets + 1);
}

#[test]
fn a_far_end_that_moves_with_its_call_is_found_anew() {
    if !is_root() {
        return;
    }
    let lab = Lab::new(Policing::On);
    let mut fars = lab.talk_in_worker(PTIME);
    lab.move_often(&fars, 4);
    fars[1].hush();
    // A re-INVITE names another port, and nothing is heard from there before the call moves.
    for (number, lane) in [Lane::Kernel, Lane::Worker, Lane::Kernel].into_iter().enumerate() {
        let elsewhere = SocketAddr::new(Call::across().callee.ip(), 6000 + 2 * number as u16);
        let moved = socket(&lab.net.callee, elsewhere);
        let mut session = lab.session_b();
        (session.remote_rtp, session.remote_rtcp) = (elsewhere, above(elsewhere));
        let b = lab.b;
        lab.run(move |plane| plane.program(b.id, session)).unwrap();
        assert_eq!(lab.prefer(lab.a, lane), lane);
        let mut far = Far::start(
            &moved,
            lab.b.rtp,
            Stream {
                ssrc: number as u32 + 1,
                ..CALLEE
            },
            PTIME,
            None,
        );
        far.wait_for(3, |packet| ssrc(packet) == CALLER.ssrc);
        fars[0].wait_for(3, |packet| ssrc(packet) == number as u32 + 1);
        assert_eq!(lab.flow(lab.b).received.source, Some(elsewhere));
        far.hush();
    }
}

#[test]
fn a_call_that_the_kernel_lane_does_not_reach_stays_where_it_is() {
    if !is_root() {
        return;
    }
    let mut lab = Lab::new(Policing::On);
    // A callee on the gateway itself: there is no program on loopback.
    let here: SocketAddr = "10.200.9.9:5000".parse().unwrap();
    lab.net.gateway.sh("ip addr add 10.200.9.9/32 dev lo");
    lab.callee = socket(&lab.net.gateway, here);
    let mut session = lab.session_b();
    (session.remote_rtp, session.remote_rtcp) = (here, above(here));
    let b = lab.b;
    lab.run(move |plane| plane.program(b.id, session)).unwrap();
    let mut fars = lab.talk_in_worker(PTIME);
    for _ in 0..20 {
        assert_eq!(lab.prefer(lab.a, Lane::Kernel), Lane::Worker);
        assert_eq!(lab.flow(lab.a).reason, Some(Reason::InterfaceNotAttached));
        fars.iter().for_each(|far| far.wait_for(1, |_| true));
    }
    lab.check(&mut fars);
}

#[test]
fn a_leg_that_is_closed_leaves_the_other_to_whoever_wants_it() {
    if !is_root() {
        return;
    }
    for lane in [Lane::Kernel, Lane::Worker] {
        let lab = Lab::new(Policing::On);
        let fars = lab.talk_in_worker(PTIME);
        assert_eq!(lab.prefer(lab.a, lane), lane);
        fars[0].wait_for(2, |_| true);
        let b = lab.b;
        assert!(lab.run(move |plane| plane.close(b.id)).unwrap().flow.received.packets > 0);
        let heard = fars[0].heard().pop().unwrap();
        lab.attach(lab.a, AgentSpec::Tone { frequency: 600 });
        fars[0].wait_for(3, |packet| ssrc(packet) == ssrc(&heard));
        one_stream(&fars[0].arrivals());
        let a = lab.a;
        let report = lab.run(move |plane| plane.close(a.id)).unwrap();
        assert_eq!(lab.run(|plane| plane.status().ports_in_use), 0);
        assert!(report.flow.received.packets > 5, "{report:?}");
    }
}
