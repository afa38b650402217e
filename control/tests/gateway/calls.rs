//! The gateway's core between two SIP user agents, in memory, without sockets or a clock: what callers and callees see,
//! and that nothing is left when a call is over.

#[path = "core_support/applications.rs"]
mod applications;
#[path = "core_support/handed_over.rs"]
mod handed_over;
#[path = "core_support/refers.rs"]
mod refers;
#[path = "core_support/replaces.rs"]
mod replaces;
#[path = "core_support/transfers.rs"]
mod transfers;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::core_support::Books;
use voxlane::call::CallId;
use voxlane::campaign::{CallRequest, Placing, Requester, State};
use voxlane::config::model::Config;
use voxlane::gateway::core::Core;
use voxlane::guard::overload::Measured;
use voxlane::sip::locate::Destination;
use voxlane::sip::{
    Address, DialogId, Endpoint, EndpointConfig, Event, Input, Large, MAX_FORWARDS, Outgoing, Output, Transmit,
    Transport, UserPhone,
};
use voxlane::time::Time;
use voxlane::web::{Request, RequestId};
use voxlane_dataplane::lane::Lane;
use voxlane_dataplane::media_plane::{AgentFailure, EndpointId, MediaEvent};

const GATEWAY: &str = "203.0.113.50:5060";
const GATEWAY_6: &str = "[2001:db8::50]:5060";
const CALLER_6: &str = "[2001:db8:1::1]:5060";
const CALLEE_6: &str = "[2001:db8:2::20]:5060";
const SDP_6: &str = "v=0\r\no=- 1 1 IN IP6 2001:db8:1::1\r\ns=-\r\nc=IN IP6 2001:db8:1::1\r\nt=0 0\r\n\
    m=audio 40000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";
const CALLER: &str = "198.51.100.1:5060";
const CALLEE: &str = "192.0.2.20:5060";
/// Whom calls are transferred to.
const THIRD: &str = "192.0.2.31:5060";
const SDP: &str = "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n\
    m=audio 40000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";

const CONFIG: &str = r#"
[sip]
max_calls = 2

[[trunk]]
name = "carrier"
allow = ["198.51.100.0/24", "2001:db8:1::/48"]
proxy = "192.0.2.20"

[[trunk]]
name = "carrier6"
proxy = "[2001:db8:2::20]"

[[trunk]]
name = "both"
proxy = "both.example"

[[trunk]]
name = "several"
gateway_timeout = "2s"

[[trunk.gateway]]
address = "192.0.2.30"

[[trunk.gateway]]
address = "nowhere.example"
priority = 1

[[trunk.gateway]]
address = "192.0.2.20"
priority = 2

[[trunk]]
name = "third"
proxy = "192.0.2.31"
caller_ids = ["+15550999"]

[[agent]]
name = "echo"
url = "builtin:echo"

[[agent]]
name = "bot"
url = "ws://192.0.2.40/media"
transfer_trunks = ["third"]

[[did]]
number = "+15550003"
agent = "bot"

[[did]]
number = "+15554000"
trunk = "several"

[[did]]
number = "+15550001"
agent = "echo"

[[did]]
number = "+15551000..+15551999"
trunk = "carrier"

[[did]]
number = "+15552000"
trunk = "carrier6"

[[did]]
number = "+15553000"
trunk = "both"
"#;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A user agent, the gateway and what is in flight between them.
struct World {
    now: Time,
    books: Arc<Books>,
    core: Core,
    peers: HashMap<SocketAddr, Endpoint>,
    heard: HashMap<SocketAddr, Vec<Event>>,
    /// What the gateway has sent.
    sent: Vec<(SocketAddr, String)>,
    /// What it has asked of web servers, and has no answer to.
    web: Vec<(RequestId, Request)>,
}

impl World {
    fn new() -> Self {
        Self::with(CONFIG, |_, remote: SocketAddr| match remote.is_ipv4() {
            true => Ok(address(GATEWAY)),
            false => Ok(address(GATEWAY_6)),
        })
    }

    fn with(
        config: &str,
        local_for: impl Fn(Transport, SocketAddr) -> std::io::Result<SocketAddr> + Send + 'static,
    ) -> Self {
        let config = Config::parse(config, "voxlane.toml", &|_| None).unwrap();
        let books = Arc::new(Books::default());
        let core = Core::new(Arc::new(config), books.clone(), Vec::new(), Box::new(local_for), 7);
        let peer = |seed| {
            Endpoint::new(EndpointConfig {
                user_agent: "peer".into(),
                t1: Duration::from_millis(500),
                t2: Duration::from_secs(4),
                t4: Duration::from_secs(5),
                invite_timeout: Duration::from_secs(60),
                listen: Vec::new(),
                seed,
            })
        };
        let names = [CALLER, CALLEE, CALLER_6, CALLEE_6, THIRD];
        let peers = names.map(address).into_iter().zip((1..).map(peer)).collect();
        Self {
            now: Time::from_micros(1),
            books,
            core,
            peers,
            heard: HashMap::new(),
            sent: Vec::new(),
            web: Vec::new(),
        }
    }

    fn peer(&mut self, name: &str) -> &mut Endpoint {
        self.peers.get_mut(&address(name)).unwrap()
    }

    fn call(&mut self, number: &str) -> DialogId {
        self.call_from(CALLER, GATEWAY, number, SDP)
    }

    fn call_from(&mut self, caller: &str, gateway: &str, number: &str, sdp: &str) -> DialogId {
        let party = |user: &str| Address {
            display: String::new(),
            user: user.into(),
            host: "203.0.113.50".into(),
            port: None,
        };
        let now = self.now;
        let dialog = self.peer(caller).invite(
            now,
            Outgoing {
                local: address(caller),
                remote: address(gateway),
                transport: Transport::Udp,
                peer: None,
                large: Large::default(),
                request_uri: party(number),
                from: party("+15557777"),
                to: party(number),
                max_forwards: MAX_FORWARDS,
                trunk: None,
                headers: Vec::new(),
                user_phone: UserPhone::Off,
                patience: None,
                sdp: sdp.into(),
            },
        );
        self.settle();
        dialog
    }

    fn media(&mut self, event: MediaEvent) {
        self.core.media(self.now, event);
        self.settle();
    }

    /// Carries messages to and fro until all is quiet.
    fn settle(&mut self) {
        loop {
            let effects = self.core.take_effects();
            let mut transmits = effects.transmits;
            let text = |transmit: &Transmit| String::from_utf8_lossy(&transmit.data).into_owned();
            self.sent
                .extend(transmits.iter().map(|transmit| (transmit.path.remote, text(transmit))));
            for (call, host) in effects.lookups {
                let found = match host.host.parse() {
                    Ok(ip) => Ok(vec![SocketAddr::new(ip, host.port)]),
                    Err(_) => Err("no".to_owned()),
                };
                self.core.resolved(self.now, call, &host, found);
            }
            for (call, stream, host) in effects.listeners {
                let found = match host.host.parse() {
                    Ok(ip) => Ok(vec![SocketAddr::new(ip, host.port)]),
                    Err(_) => Err("no".to_owned()),
                };
                self.core.listener_found(self.now, call, &stream, found);
            }
            self.web.extend(effects.requests);
            for (asker, place) in effects.places {
                let at = |text: &str| Destination {
                    remote: address(text),
                    transport: Transport::Udp,
                };
                let found = match place.host.as_str() {
                    "both.example" => Ok(vec![at(CALLEE_6), at(CALLEE)]),
                    host => Err(format!("cannot resolve {host}: it is not there")),
                };
                self.core.located(self.now, asker, found);
            }
            for (name, peer) in &mut self.peers {
                loop {
                    match peer.poll_output() {
                        Output::Transmit(transmit) => transmits.push(transmit),
                        Output::Event(event) => self.heard.entry(*name).or_default().push(event),
                        Output::Timeout(_) => break,
                    }
                }
            }
            if transmits.is_empty() && self.core.is_quiet() {
                return;
            }
            for Transmit { path, data } in transmits {
                let (local, remote) = (path.local, path.remote);
                let input = Input::Datagram {
                    local: remote,
                    remote: local,
                    data: &data,
                };
                match self.peers.get_mut(&remote) {
                    Some(peer) => peer.handle_input(self.now, input),
                    None if [GATEWAY, GATEWAY_6].map(address).contains(&remote) => self.core.input(self.now, input),
                    None => {}
                }
            }
        }
    }

    /// Lets time pass, far enough for every transaction timer.
    fn wait(&mut self) {
        for _ in 0..200 {
            self.now = self.now + Duration::from_millis(500);
            self.core.timeout(self.now);
            for peer in self.peers.values_mut() {
                peer.handle_timeout(self.now);
            }
            self.settle();
        }
    }

    fn heard(&mut self, name: &str) -> Vec<Event> {
        self.heard.remove(&address(name)).unwrap_or_default()
    }

    fn assert_nothing_left(&mut self) {
        self.wait();
        assert!(self.core.is_idle());
        assert!(self.books.open.lock().unwrap().is_empty(), "media left open");
        let counters = self.core.sip_counters();
        assert_eq!((counters.transactions, counters.dialogs), (0, 0), "{counters:?}");
    }
}

fn failed(events: &[Event]) -> Option<u16> {
    events.iter().find_map(|event| match event {
        Event::Failed { status, .. } => Some(*status),
        _ => None,
    })
}

fn incoming(events: Vec<Event>) -> voxlane::sip::Incoming {
    let found = events.into_iter().find_map(|event| match event {
        Event::Incoming(incoming) => Some(*incoming),
        _ => None,
    });
    found.expect("the callee was not called")
}

#[test]
fn a_call_to_an_agent_is_answered_and_ends() {
    let mut world = World::new();
    let call = world.call("+15550001");
    assert!(matches!(world.heard(CALLER)[..], [Event::Progress { status: 180, .. }]));
    world.media(MediaEvent::AgentReady(EndpointId(0)));
    assert!(matches!(
        &world.heard(CALLER)[..],
        [Event::Answered { sdp: Some(_), .. }]
    ));
    assert_eq!(world.books.attached.load(Ordering::SeqCst), 1);
    let now = world.now;
    world.peer(CALLER).hang_up(now, call, None);
    world.settle();
    world.assert_nothing_left();
}

#[test]
fn an_agent_that_fails_before_and_after_the_answer_ends_the_call() {
    for answered in [false, true] {
        let mut world = World::new();
        world.call("+15550001");
        if answered {
            world.media(MediaEvent::AgentReady(EndpointId(0)));
        }
        world.heard(CALLER);
        world.media(MediaEvent::AgentFailed(
            EndpointId(0),
            AgentFailure::Refused("403".into()),
        ));
        let heard = world.heard(CALLER);
        match answered {
            false => assert_eq!(failed(&heard), Some(480), "{heard:?}"),
            true => assert!(matches!(heard[..], [Event::Bye { .. }]), "{heard:?}"),
        }
        world.assert_nothing_left();
    }
}

#[test]
fn a_relayed_call_is_joined_and_either_side_can_end_it() {
    for by_caller in [false, true] {
        let mut world = World::new();
        let call = world.call("+15551234");
        let invite = incoming(world.heard(CALLEE));
        assert_eq!(
            (invite.from.user.as_str(), invite.request_uri.user.as_str()),
            ("+15557777", "+15551234")
        );
        assert_eq!(invite.max_forwards, MAX_FORWARDS - 1);
        let now = world.now;
        world.peer(CALLEE).answer(now, invite.dialog, SDP.into());
        world.settle();
        assert!(matches!(world.heard(CALLER).last(), Some(Event::Answered { .. })));
        assert_eq!(world.books.relayed.load(Ordering::SeqCst), 1);
        world.heard(CALLEE);
        let (one, dialog, other) = if by_caller {
            (CALLER, call, CALLEE)
        } else {
            (CALLEE, invite.dialog, CALLER)
        };
        world.peer(one).hang_up(now, dialog, None);
        world.settle();
        assert!(matches!(world.heard(other)[..], [Event::Bye { .. }]));
        world.assert_nothing_left();
    }
}

#[test]
fn a_call_whose_media_cannot_be_relayed_is_refused_and_not_answered() {
    let mut world = World::new();
    world.books.out_of_order.store(true, Ordering::SeqCst);
    world.call("+15551234");
    let invite = incoming(world.heard(CALLEE));
    let now = world.now;
    world.peer(CALLEE).answer(now, invite.dialog, SDP.into());
    world.settle();
    let heard = world.heard(CALLER);
    assert_eq!(failed(&heard), Some(503), "{heard:?}");
    assert!(!heard.iter().any(|event| matches!(event, Event::Answered { .. })));
    assert!(matches!(world.heard(CALLEE).last(), Some(Event::Bye { .. })));
    world.assert_nothing_left();
}

#[test]
fn a_caller_that_gives_up_stops_the_callee_ringing() {
    let mut world = World::new();
    let call = world.call("+15551234");
    let invite = incoming(world.heard(CALLEE));
    let now = world.now;
    world.peer(CALLEE).ring(now, invite.dialog, 180, None);
    world.settle();
    world.peer(CALLER).hang_up(now, call, None);
    world.settle();
    assert!(matches!(world.heard(CALLEE)[..], [Event::Cancelled { .. }]));
    assert_eq!(failed(&world.heard(CALLER)), Some(487));
    world.assert_nothing_left();
}

#[test]
fn a_callee_that_never_answers_ends_the_call() {
    let mut world = World::new();
    world.peers.remove(&address(CALLEE));
    world.call("+15551234");
    world.wait();
    assert_eq!(failed(&world.heard(CALLER)), Some(408));
    world.assert_nothing_left();
}

#[test]
fn options_tell_whether_another_call_would_be_taken() {
    let mut world = World::new();
    let mut asked = 0;
    let mut ask = |world: &mut World| {
        asked += 1;
        let options = format!(
            "OPTIONS sip:203.0.113.50 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.9:5060;branch=z9hG4bK{asked}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:c@198.51.100.9>;tag=1\r\nTo: <sip:203.0.113.50>\r\n\
             Call-ID: o{asked}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        );
        let (local, remote) = (address(GATEWAY), address("198.51.100.9:5060"));
        let data = options.as_bytes();
        world.core.input(world.now, Input::Datagram { local, remote, data });
        let answer = world.core.take_effects().transmits.remove(0);
        String::from_utf8(answer.data).unwrap()
    };
    assert!(ask(&mut world).starts_with("SIP/2.0 200 "));
    let calls = [world.call("+15550001"), world.call("+15550001")];
    assert!(ask(&mut world).starts_with("SIP/2.0 503 "));
    let now = world.now;
    world.peer(CALLER).hang_up(now, calls[0], None);
    world.settle();
    assert!(ask(&mut world).starts_with("SIP/2.0 200 "));
}

#[test]
fn strangers_unknown_numbers_and_one_call_too_many_are_refused() {
    let mut world = World::new();
    world.call("+15559999");
    assert_eq!(failed(&world.heard(CALLER)), Some(404));
    world.call("+15550001");
    world.call("+15550001");
    world.heard(CALLER);
    world.call("+15550001");
    assert_eq!(failed(&world.heard(CALLER)), Some(503));
    let now = world.now;
    world.core.stop(now, "gateway is stopping");
    world.settle();
    world.assert_nothing_left();
}

/// What of a message to a peer stands in lines that begin so.
fn lines<'a>(world: &'a World, to: &str, begin: &str) -> Vec<&'a str> {
    let messages = world.sent.iter().filter(|(remote, _)| *remote == address(to));
    let lines = messages.flat_map(|(_, text)| text.lines().filter(|line| line.starts_with(begin)));
    lines.collect()
}

#[test]
fn calls_between_the_ip_versions() {
    for (caller, gateway, number, callee, offer, answer) in [
        (CALLER_6, GATEWAY_6, "+15552000", CALLEE_6, SDP_6, SDP_6),
        (CALLER_6, GATEWAY_6, "+15551234", CALLEE, SDP_6, SDP),
        (CALLER, GATEWAY, "+15552000", CALLEE_6, SDP, SDP_6),
    ] {
        let mut world = World::new();
        let call = world.call_from(caller, gateway, number, offer);
        let invite = incoming(world.heard(callee));
        let ours = |text: &str| match address(text).is_ipv4() {
            true => ("203.0.113.50", "203.0.113.50", "IP4 203.0.113.50"),
            false => ("[2001:db8::50]", "2001:db8::50", "IP6 2001:db8::50"),
        };
        let (host, plain, media) = ours(callee);
        assert_eq!(invite.from.host, plain);
        assert_eq!(
            lines(&world, callee, "Contact: "),
            [format!("Contact: <sip:{host}:5060>")]
        );
        assert!(lines(&world, callee, "Via: ")[0].starts_with(&format!("Via: SIP/2.0/UDP {host}:5060;")));
        assert!(lines(&world, callee, "From: ")[0].contains(&format!("@{host}>")));
        assert_eq!(lines(&world, callee, "c="), [format!("c=IN {media}")]);
        let now = world.now;
        world.peer(callee).answer(now, invite.dialog, answer.into());
        world.settle();
        assert!(matches!(world.heard(caller).last(), Some(Event::Answered { .. })));
        let (host, _, media) = ours(caller);
        assert_eq!(
            lines(&world, caller, "Contact: ").last().unwrap(),
            &format!("Contact: <sip:{host}:5060>")
        );
        assert_eq!(lines(&world, caller, "c="), [format!("c=IN {media}")]);
        assert_eq!(world.books.relayed.load(Ordering::SeqCst), 1);
        world.peer(caller).hang_up(now, call, None);
        world.settle();
        world.assert_nothing_left();
    }
}

#[test]
fn media_has_the_ip_version_of_the_offer_whatever_signalling_has() {
    let config = format!("{CONFIG}\n[media]\naddresses = [\"203.0.113.50\", \"2001:db8::50\"]\n");
    // SIP is spoken over IPv4 only.
    let mut world = World::with(&config, |_, remote| match remote.is_ipv4() {
        true => Ok(address(GATEWAY)),
        false => Err(std::io::ErrorKind::AddrNotAvailable.into()),
    });
    world.call_from(CALLER, GATEWAY, "+15550001", SDP_6);
    world.media(MediaEvent::AgentReady(EndpointId(0)));
    assert_eq!(lines(&world, CALLER, "c="), ["c=IN IP6 2001:db8::50"]);
}

#[test]
fn an_answer_of_the_other_ip_version_than_our_offer_ends_the_call() {
    let mut world = World::new();
    world.call("+15551234");
    let invite = incoming(world.heard(CALLEE));
    let now = world.now;
    world.peer(CALLEE).answer(now, invite.dialog, SDP_6.into());
    world.settle();
    assert_eq!(failed(&world.heard(CALLER)), Some(502));
    world.assert_nothing_left();
}

#[test]
fn a_trunk_of_both_ip_versions_is_called_where_somebody_listens() {
    let mut world = World::with(CONFIG, |_, remote| match remote.is_ipv4() {
        true => Ok(address(GATEWAY)),
        false => Err(std::io::ErrorKind::AddrNotAvailable.into()),
    });
    world.call("+15553000");
    incoming(world.heard(CALLEE));
}

#[test]
fn keys_pressed_in_a_relayed_call_are_known_by_their_leg() {
    let mut world = World::new();
    world.call("+15551234");
    let invite = incoming(world.heard(CALLEE));
    let now = world.now;
    world.peer(CALLEE).answer(now, invite.dialog, SDP.into());
    world.settle();
    for (endpoint, digit) in [(0, '1'), (1, '7'), (0, '#')] {
        world.media(MediaEvent::Digit {
            endpoint: EndpointId(endpoint),
            digit,
            duration: Duration::from_millis(120),
        });
    }
    let call = world.core.calls_report().active.remove(0);
    assert_eq!(call.digits, "1#");
    let digits: Vec<&str> = call.legs.iter().map(|leg| leg.digits.as_str()).collect();
    assert_eq!(digits, ["1#", "7"]);
}

#[test]
fn an_operator_moves_and_captures_a_call_by_its_name() {
    let mut world = World::new();
    world.call("+15551234");
    let invite = incoming(world.heard(CALLEE));
    let name = world.core.calls_report().active[0].id.clone();
    let now = world.now;
    world.peer(CALLEE).answer(now, invite.dialog, SDP.into());
    world.settle();
    for named in [name.as_str(), &name[..15], &name.to_uppercase()] {
        let report = world.core.prefer(named, Lane::Worker).unwrap();
        assert_eq!((report.call.as_str(), report.lane), (name.as_str(), Lane::Worker));
        world.core.mirror(named).unwrap();
        let mut mirrored = std::mem::take(&mut *world.books.mirrored.lock().unwrap());
        mirrored.sort_unstable();
        let open: std::collections::BTreeSet<_> = world.books.open.lock().unwrap().keys().copied().collect();
        assert_eq!(mirrored, Vec::from_iter(open), "both legs, each once");
    }
    let error = |call: &str| world.core.mirror(call).unwrap_err().to_string();
    for unknown in ["", "x", "00000000000000000"] {
        assert!(
            error(unknown).contains("\"voxlane calls\" shows their names"),
            "{}",
            error(unknown)
        );
    }
}

#[test]
fn a_name_that_several_calls_have_and_an_agents_call_are_not_touched() {
    let mut world = World::new();
    world.call("+15550001");
    let agents = world.core.calls_report().active[0].id.clone();
    let error = world.core.prefer(&agents, Lane::Kernel).unwrap_err().to_string();
    assert!(error.contains("an agent answers it"), "{error}");
    // Two calls whose names begin alike: one in sixteen.
    let now = world.now;
    world.core.stop(now, "enough");
    world.settle();
    world.wait();
    while world.core.calls_report().active.len() < 2
        || world.core.calls_report().active[0].id[..1] != world.core.calls_report().active[1].id[..1]
    {
        world.core.stop(now, "enough");
        world.settle();
        world.wait();
        world.call("+15550001");
        world.call("+15550001");
    }
    let one = &world.core.calls_report().active[0].id[..1];
    let error = world.core.mirror(one).unwrap_err().to_string();
    assert!(
        error.ends_with("begins the names of 2 calls; write more of it"),
        "{error}"
    );
}

/// What an operator asks for.
fn asked(to: &str, ring_timeout_s: Option<u32>) -> CallRequest {
    CallRequest {
        to: to.into(),
        placing: Placing {
            trunk: "carrier".into(),
            agent: "echo".into(),
            application: Default::default(),
            caller_id: None,
            tenant: None,
            ring_timeout_s,
            parameters: BTreeMap::new(),
            headers: BTreeMap::new(),
        },
    }
}

/// A world whose trunk may show numbers, with these lines in that section.
fn dialling(lines: &str) -> World {
    let proxy = "proxy = \"192.0.2.20\"\n";
    let lines = format!("{proxy}caller_ids = [\"+15550100\", \"+15550101\"]\n{lines}\n");
    let config = CONFIG.replace("max_calls = 2", "max_calls = 100");
    let config = config.replace(proxy, &lines);
    World::with(&config, |_, _| Ok(address(GATEWAY)))
}

impl World {
    /// Places a call and returns its name, and what the callee hears of it.
    fn place(&mut self, ring_timeout_s: Option<u32>) -> (CallId, voxlane::sip::Incoming) {
        let result = self.core.place_call(asked("+15557777", ring_timeout_s)).unwrap();
        assert_eq!(result.state, State::Waiting);
        self.core.timeout(self.now);
        self.settle();
        let call = CallId(u64::from_str_radix(&result.call, 16).unwrap());
        (call, incoming(self.heard(CALLEE)))
    }

    fn state(&self, call: CallId) -> (State, Option<u16>) {
        let result = self.core.placed(call).unwrap();
        (result.state, result.status)
    }
}

#[test]
fn a_call_that_is_placed_gets_its_agent_when_it_is_answered() {
    let mut world = dialling("");
    let (call, invite) = world.place(None);
    // I12, and the first of the trunk's caller IDs.
    assert_eq!(
        lines(&world, CALLEE, "INVITE "),
        ["INVITE sip:+15557777@192.0.2.20 SIP/2.0"]
    );
    assert_eq!(
        (invite.from.user.as_str(), invite.to.user.as_str()),
        ("+15550100", "+15557777")
    );
    let now = world.now;
    world.peer(CALLEE).ring(now, invite.dialog, 180, None);
    world.settle();
    assert_eq!(world.state(call), (State::Ringing, None));
    assert_eq!(world.books.attached.load(Ordering::SeqCst), 0);
    world.peer(CALLEE).answer(now, invite.dialog, SDP.into());
    world.settle();
    assert_eq!(world.state(call), (State::Answered, None));
    assert_eq!(world.books.attached.load(Ordering::SeqCst), 1);
    world.media(MediaEvent::AgentReady(EndpointId(0)));
    let report = world.core.calls_report().active;
    assert_eq!(
        (report[0].state.as_str(), report[0].agent.as_deref()),
        ("up", Some("echo"))
    );
    world.peer(CALLEE).hang_up(now, invite.dialog, None);
    world.settle();
    assert_eq!(world.state(call), (State::Ended, None));
    world.assert_nothing_left();

    // An agent that dies hangs up.
    let (call, invite) = world.place(None);
    let now = world.now;
    world.peer(CALLEE).answer(now, invite.dialog, SDP.into());
    world.settle();
    let agent = EndpointId(1);
    world.media(MediaEvent::AgentFailed(agent, AgentFailure::ConnectTimeout));
    assert!(matches!(world.heard(CALLEE).last(), Some(Event::Bye { .. })));
    assert_eq!(world.state(call), (State::Ended, None));
    world.assert_nothing_left();
}

#[test]
fn what_becomes_of_calls_that_nobody_takes() {
    let mut world = dialling("");
    let (call, invite) = world.place(None);
    let now = world.now;
    world.peer(CALLEE).reject(now, invite.dialog, 486, &[]);
    world.settle();
    assert_eq!(world.state(call), (State::Busy, Some(486)));
    // It rings for too long.
    let (call, invite) = world.place(Some(5));
    let now = world.now;
    world.peer(CALLEE).ring(now, invite.dialog, 180, None);
    world.settle();
    world.wait();
    assert!(
        world
            .heard(CALLEE)
            .contains(&Event::Cancelled { dialog: invite.dialog })
    );
    assert_eq!(world.state(call), (State::NoAnswer, Some(487)));
    // Somebody takes it back.
    let (call, _) = world.place(None);
    let now = world.now;
    world.core.cancel_call(call, now, Requester::Operator).unwrap();
    world.settle();
    assert_eq!(world.state(call).0, State::Cancelled);
    world.assert_nothing_left();
}

#[test]
fn what_cannot_be_called_is_told_at_once() {
    let mut world = dialling("");
    let refused = |world: &mut World, request: CallRequest| world.core.place_call(request).unwrap_err().to_string();
    let wrong = |change: fn(&mut CallRequest)| {
        let mut request = asked("+15557777", None);
        change(&mut request);
        request
    };
    for (request, expected) in [
        (
            wrong(|r| r.to = "5557777".into()),
            "\"5557777\" is not a number in E.164",
        ),
        (wrong(|r| r.placing.trunk = "x".into()), "there is no trunk \"x\""),
        (wrong(|r| r.placing.agent = "x".into()), "there is no agent \"x\""),
        (
            wrong(|r| r.placing.tenant = Some("x".into())),
            "there is no tenant \"x\"",
        ),
        (
            wrong(|r| r.placing.caller_id = Some("+15559999".into())),
            "\"+15559999\" is not among the caller_ids of trunk \"carrier\"",
        ),
        (
            wrong(|r| r.placing.trunk = "carrier6".into()),
            "trunk \"carrier6\" has no caller_ids",
        ),
    ] {
        let error = refused(&mut world, request);
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let mut own = asked("+15557777", None);
    own.placing.caller_id = Some("+15550101".into());
    assert_eq!(world.core.place_call(own).unwrap().from, "+15550101");
}

#[test]
fn while_there_is_too_much_to_do_new_calls_are_refused_and_what_is_there_goes_on() {
    let mut world = dialling("");
    let call = world.call("+15550001");
    world.media(MediaEvent::AgentReady(EndpointId(0)));
    world.heard(CALLER);
    let late = |ms| Measured {
        delay: Duration::from_millis(ms),
        ..Measured::default()
    };
    let now = world.now;
    world.core.measured(now, late(600));
    world.core.measured(now, late(600));
    world.sent.clear();
    world.call("+15550001");
    assert_eq!(failed(&world.heard(CALLER)), Some(503));
    // Nothing was kept of it, not even a 100 was sent.
    assert_eq!(lines(&world, CALLER, "SIP/2.0"), ["SIP/2.0 503 Service Unavailable"]);
    let retry_after: u64 = lines(&world, CALLER, "Retry-After: ")[0]["Retry-After: ".len()..]
        .parse()
        .unwrap();
    assert!((5..=10).contains(&retry_after), "{retry_after}");
    assert_eq!(
        lines(&world, CALLER, "Reason: "),
        ["Reason: SIP;cause=503;text=\"signalling is late: overload.delay\""]
    );
    // Calls to be placed wait.
    world.core.place_call(asked("+15557777", None)).unwrap();
    world.core.timeout(now);
    world.settle();
    assert_eq!(world.heard(CALLEE), []);
    // The call that was there is ended as ever.
    world.peer(CALLER).hang_up(now, call, None);
    world.settle();
    assert!(matches!(world.heard(CALLER)[..], [Event::Terminated { .. }]));
    for _ in 0..4 {
        world.core.measured(now, late(0));
    }
    world.call("+15550001");
    assert_eq!(failed(&world.heard(CALLER)), None);
    world.now = world.now + Duration::from_secs(1);
    world.core.timeout(world.now);
    world.settle();
    incoming(world.heard(CALLEE));
}

#[test]
fn a_trunk_has_no_more_calls_than_it_may() {
    let mut world = dialling("max_calls = 2");
    let first = world.call("+15550001");
    world.call("+15551234");
    world.heard(CALLER);
    world.call("+15550001");
    assert_eq!(failed(&world.heard(CALLER)), Some(503));
    assert!(!lines(&world, CALLER, "Retry-After: ").is_empty());
    let now = world.now;
    world.peer(CALLER).hang_up(now, first, None);
    world.settle();
    world.heard(CALLER);
    world.call("+15550001");
    assert_eq!(failed(&world.heard(CALLER)), None);

    let mut world = dialling("max_calls_per_second = 3");
    world.now = Time::from_micros(10_000_000);
    for _ in 0..3 {
        world.call("+15550001");
    }
    assert_eq!(failed(&world.heard(CALLER)), None);
    world.call("+15550001");
    assert_eq!(failed(&world.heard(CALLER)), Some(503));
    world.now = world.now + Duration::from_millis(400);
    world.call("+15550001");
    assert_eq!(failed(&world.heard(CALLER)), None);
}
#[test]
fn a_gateway_that_is_silent_and_one_that_is_not_found_are_passed_over() {
    let mut world = World::new();
    world.call("+15554000");
    assert_eq!(lines(&world, "192.0.2.30:5060", "INVITE ").len(), 1);
    // Nothing has answered in gateway_timeout.
    for _ in 0..5 {
        world.now = world.now + Duration::from_millis(500);
        world.core.timeout(world.now);
        world.settle();
    }
    let invite = incoming(world.heard(CALLEE));
    assert_eq!(
        (invite.request_uri.host.as_str(), invite.to.host.as_str()),
        ("192.0.2.30", "192.0.2.30")
    );
    let now = world.now;
    world.peer(CALLEE).answer(now, invite.dialog, SDP.into());
    world.settle();
    let call = world.core.calls_report().active.remove(0);
    let attempts: Vec<(&str, &str)> = call.attempts.iter().map(|one| (&*one.gateway, &*one.outcome)).collect();
    assert_eq!(
        attempts,
        [
            ("192.0.2.30", "no answer"),
            ("nowhere.example", "cannot resolve nowhere.example: it is not there"),
        ]
    );
    // The silent one comes back, and is told that nobody waits for it.
    let invite = world
        .sent
        .iter()
        .find(|(to, text)| *to == address("192.0.2.30:5060") && text.starts_with("INVITE"));
    let head = |name: &str| {
        let line = invite.unwrap().1.lines().find(|line| line.starts_with(name));
        line.unwrap().to_owned()
    };
    let ringing = format!(
        "SIP/2.0 180 Ringing\r\n{}\r\n{}\r\n{};tag=late\r\n{}\r\n{}\r\n\r\n",
        head("Via:"),
        head("From:"),
        head("To:"),
        head("Call-ID:"),
        head("CSeq:")
    );
    world.core.input(
        world.now,
        Input::Datagram {
            local: address(GATEWAY),
            remote: address("192.0.2.30:5060"),
            data: ringing.as_bytes(),
        },
    );
    world.settle();
    assert_eq!(lines(&world, "192.0.2.30:5060", "CANCEL ").len(), 1);
    world.core.stop(now, "enough");
    world.settle();
    world.assert_nothing_left();
}
