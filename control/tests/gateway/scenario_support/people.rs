//! Who calls, who is called, who answers for an agent, and what comes to their minds.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rand::Rng;
use url::Url;
use voxlane::call::transfer::Ringing;
use voxlane::call::{CallId, Side};
use voxlane::campaign::{CallRequest, Change, PlaceError, PlacedApplication, Placing, Requester};
use voxlane::config::model::HostPort;
use voxlane::gateway::core::Asker;
use voxlane::ops::report::TransferOrder;
use voxlane::sip::locate::{Destination, Place};
use voxlane::sip::{
    Address, Content, DialogId, Endpoint, Event, Large, MAX_FORWARDS, Outgoing, Progress, Transport, UserPhone, Within,
    WithinMethod,
};
use voxlane::twiml::application::{Page, Source};
use voxlane::twiml::{Problem, code};
use voxlane::web::{Answer, Answered, Request, RequestId, Wants};
use voxlane_dataplane::media_plane::{AgentFailure, EndpointId, MediaEvent, TransferRequest};

use super::{GATEWAY, TRUNK, World};

pub const CALLER: ([u8; 4], u16) = ([198, 51, 100, 1], 5060);
pub const CALLEE: ([u8; 4], u16) = ([192, 0, 2, 20], 5060);
/// Whom calls are transferred to.
pub const THIRD: ([u8; 4], u16) = ([192, 0, 2, 30], 5060);

/// Whom numbers belong to.
pub const NUMBERS: [&str; 6] = [
    "+15550001",
    "+15550002",
    "+15550004",
    "+15551234",
    "+15552000",
    "+15559999",
];

/// What applications answer.
const DOCUMENTS: [&str; 11] = [
    "<Dial answerOnBridge=\"true\" timeout=\"20\">+15559000</Dial><Pause/><Reject/>",
    "",
    "<Reject/>",
    "<Pause length=\"3\"/><Redirect>/voice</Redirect>",
    "<Connect><Stream url=\"ws://bot.example/\"/></Connect><Dial>+15559000</Dial>",
    "<Connect action=\"/next\"><Stream url=\"ws://bot.example/\"/></Connect>",
    "<Dial timeout=\"20\" hangupOnStar=\"true\" action=\"/next\">+15559000</Dial>",
    "<Dial timeLimit=\"10\"><Sip>sip:+15559000@192.0.2.30</Sip></Dial><Pause/>",
    "<Play>/a.wav</Play><Dial>+15559000</Dial><Pause length=\"5\"/>",
    "<Play loop=\"0\">/a.wav</Play>",
    "<Refer><Sip>sip:+15559000@192.0.2.20</Sip></Refer><Pause/>",
];

/// How long it rings where nobody answers.
const RINGS: Duration = Duration::from_secs(180);

/// A user agent.
pub struct Person {
    pub endpoint: Endpoint,
    /// Dialogs it believes up, and their Call-IDs.
    pub up: BTreeMap<DialogId, String>,
    /// Whether it still hears and says anything.
    pub alive: bool,
    /// Once it does not: whether its host says so.
    pub refuses: bool,
}

impl Person {
    pub fn new(seed: u64) -> Self {
        Self {
            endpoint: super::endpoint(seed),
            up: BTreeMap::new(),
            alive: true,
            refuses: false,
        }
    }
}

/// Something that is done at its time.
#[derive(Clone, Debug)]
pub enum Deed {
    /// The caller calls a number.
    Call(&'static str),
    /// A user agent does something in a dialog.
    In(SocketAddr, DialogId, Act),
    /// A user agent is gone, from one moment to the next.
    Die(SocketAddr),
    /// An agent, or the worker that has it.
    Media(MediaEvent),
    /// A name was looked up.
    Resolve(CallId, HostPort, Result<Vec<SocketAddr>, String>),
    /// A place of SIP was found, or not.
    Locate(Asker, Result<Vec<Destination>, String>),
    /// A web server answers, or does not.
    Respond(RequestId, Answered),
    /// The gateway looks at the media of calls.
    Watch,
    /// The operator has a number called.
    Place,
    /// The operator meddles with a call: has it transferred, takes that back, or hangs up one that was placed.
    Operate,
    /// The operator stops the gateway.
    Stop,
}

/// What a user agent does in a dialog.
#[derive(Clone, Debug)]
pub enum Act {
    Ring(u16, bool),
    Answer,
    Reject(u16),
    HangUp,
    Offer,
    AnswerUpdate,
    RefuseUpdate(u16),
    Ask(WithinMethod),
    AcceptRefer,
    RefuseRefer,
    /// Tells what has come of a REFER.
    Tell(u16),
    /// Calls anew, in the place of this dialog.
    Replace,
    /// Asks for another session by UPDATE.
    Update,
}

/// What a user agent offers and answers, from its own address; on hold now and then, where there is holding.
pub fn sdp(world: &mut World, name: SocketAddr) -> Vec<u8> {
    let ip = name.ip();
    let direction = match world.random.random_range(0..8) {
        _ if !world.holds => "",
        0 => "a=sendonly\r\n",
        1 => "a=inactive\r\n",
        _ => "",
    };
    let formats = ["0 101", "8 0 101", "9 8 101", "0"][world.random.random_range(0..4)];
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 40000 RTP/AVP {formats}\r\n\
         a=rtpmap:101 telephone-event/8000\r\n{direction}"
    )
    .into_bytes()
}

/// A user agent hears something.
pub fn hear(world: &mut World, name: SocketAddr, event: Event) {
    match event {
        Event::Incoming(incoming) => called(world, name, incoming.dialog),
        Event::Progress { dialog, .. } => {
            if world.chance(0.15) {
                let after = world.while_of(10_000);
                world.plan(after, Deed::In(name, dialog, Act::HangUp));
            }
        }
        Event::Answered { dialog, .. } => {
            world.replaced += u64::from(name == CALLER.into() && world.replacing.remove(&dialog));
            live(world, name, dialog);
        }
        // Again after each re-INVITE: it is up already.
        Event::Confirmed { dialog, .. } => {
            if world
                .people
                .get(&name)
                .is_some_and(|person| !person.up.contains_key(&dialog))
            {
                live(world, name, dialog);
            }
        }
        Event::Reinvite { dialog, .. } => {
            let act = match world.random.random_range(0..20) {
                0 => return,
                1 => Act::Reject(488),
                2 => Act::Reject(491),
                3 => Act::Reject(500),
                _ => Act::Answer,
            };
            let after = world.while_of(3_000);
            world.plan(after, Deed::In(name, dialog, act));
        }
        Event::Update { dialog, .. } => {
            let act = match world.random.random_range(0..8) {
                0 => Act::RefuseUpdate(488),
                1 => Act::RefuseUpdate(500),
                _ => Act::AnswerUpdate,
            };
            let after = world.while_of(3_000);
            world.plan(after, Deed::In(name, dialog, act));
        }
        Event::Failed { dialog, .. }
        | Event::Cancelled { dialog }
        | Event::Bye { dialog, .. }
        | Event::Terminated { dialog, .. } => {
            if let Some(person) = world.people.get_mut(&name) {
                person.up.remove(&dialog);
            }
        }
        Event::Referred { dialog, .. } => {
            let mut after = world.while_of(2_000);
            if world.chance(0.2) {
                return world.plan(after, Deed::In(name, dialog, Act::RefuseRefer));
            }
            world.plan(after, Deed::In(name, dialog, Act::AcceptRefer));
            let told: &[u16] = match world.random.random_range(0..8) {
                0 => &[],
                1 => &[100],
                2 => &[180, 486],
                3 => &[603],
                4 => &[180],
                _ => &[180, 200],
            };
            for status in told {
                after += world.while_of(5_000);
                world.plan(after, Deed::In(name, dialog, Act::Tell(*status)));
            }
            if world.chance(0.4) {
                world.plan(after, Deed::In(name, dialog, Act::HangUp));
            }
        }
        Event::OfferAnswered { .. }
        | Event::OfferRefused { .. }
        | Event::Responded { .. }
        | Event::Notified { .. }
        | Event::Outside { .. } => {}
    }
}

/// Somebody is called.
fn called(world: &mut World, name: SocketAddr, dialog: DialogId) {
    let mut later = Duration::ZERO;
    if world.chance(0.7) {
        later += world.while_of(3_000);
        let (status, early) = match world.random.random_range(0..6) {
            0 => (183, true),
            1 => (183, false),
            2 => (199, false),
            _ => (180, false),
        };
        world.plan(later, Deed::In(name, dialog, Act::Ring(status, early)));
    }
    later += world.while_of(20_000);
    let act = match world.random.random_range(0..20) {
        // Nobody answers; who called may long have given up, and where all it heard of us was lost it may not say so.
        0 | 1 => {
            later += RINGS;
            Act::Reject(480)
        }
        2 => return world.plan(later, Deed::Die(name)),
        3 => Act::Reject(486),
        4 => Act::Reject(503),
        5 => Act::Reject(302),
        6 => Act::Reject(603),
        _ => Act::Answer,
    };
    world.plan(later, Deed::In(name, dialog, act));
}

/// Somebody's call is up.
fn live(world: &mut World, name: SocketAddr, dialog: DialogId) {
    if let Some(person) = world.people.get_mut(&name) {
        let call_id = person.endpoint.call_id(dialog).unwrap_or_default().to_owned();
        person.up.insert(dialog, call_id);
    }
    for _ in 0..world.random.random_range(0..3) {
        let act = match world.random.random_range(0..11) {
            10 if name == CALLER.into() => Act::Replace,
            0..5 | 10 => Act::Offer,
            8 | 9 => Act::Update,
            5 => Act::Ask(WithinMethod::Update),
            6 => Act::Ask(WithinMethod::Refer),
            _ => Act::Ask(WithinMethod::Notify),
        };
        let after = world.while_of(60_000);
        world.plan(after, Deed::In(name, dialog, act));
    }
    let after = world.while_of(90_000);
    match world.random.random_range(0..20) {
        // The other side will, or the agent.
        0..6 => {}
        6 => world.plan(after, Deed::Die(name)),
        _ => world.plan(after, Deed::In(name, dialog, Act::HangUp)),
    }
}

/// A name is looked up.
pub fn look_up(world: &mut World, call: CallId, host: &HostPort) {
    let found = match (host.host.parse::<IpAddr>(), world.random.random_range(0..10)) {
        (Ok(ip), _) => Ok(vec![SocketAddr::new(ip, host.port)]),
        (Err(_), 0) => Err("no such host".to_owned()),
        (Err(_), 1) => Ok(Vec::new()),
        (Err(_), _) => Ok(vec![CALLEE.into()]),
    };
    let after = world.while_of(3_000);
    world.plan(after, Deed::Resolve(call, host.clone(), found));
}

/// A document of an application.
fn document(world: &mut World, url: Url) -> Page {
    let body = match world.random.random_range(0..=DOCUMENTS.len()) {
        0 => "<Say>Hello</Say>",
        n => DOCUMENTS[n - 1],
    };
    Page {
        url,
        content_type: Some("text/xml".into()),
        text: format!("<Response>{body}</Response>"),
    }
}

/// A web server is asked for something.
pub fn browse(world: &mut World, id: RequestId, request: &Request) {
    let answered = match (world.random.random_range(0..8), request.wants) {
        (0, _) => Err(Problem::new(code::HTTP_RETRIEVAL, "answered with 500")),
        (_, Wants::Document) => Ok(Answer::Document(document(world, request.link.url.clone()))),
        (_, Wants::Audio) => Ok(Answer::Audio([0u8; 8].into())),
        (_, Wants::Nothing) => Ok(Answer::Nothing),
    };
    let after = world.while_of(3_000);
    world.plan(after, Deed::Respond(id, answered));
}

/// A place of SIP is looked for: nobody, or the callee, or first somebody who is not there.
pub fn locate(world: &mut World, asker: Asker, _: &Place) {
    let at = |remote| Destination {
        remote,
        transport: Transport::Udp,
    };
    let (callee, nobody) = (at(CALLEE.into()), at(([192, 0, 2, 99], 5060).into()));
    let found = match world.random.random_range(0..10) {
        0 => Err("no such host".to_owned()),
        1 => Ok(Vec::new()),
        2 => Ok(vec![nobody, callee]),
        3 => Ok(vec![nobody]),
        _ => Ok(vec![callee]),
    };
    let after = world.while_of(3_000);
    world.plan(after, Deed::Locate(asker, found));
}

/// Agents that were attached do what agents do.
pub fn attend(world: &mut World) {
    let attached: Vec<EndpointId> = {
        let attached = world.books.agents.lock().unwrap();
        attached.iter().skip(world.agents).copied().collect()
    };
    world.agents += attached.len();
    for endpoint in attached {
        let after = world.while_of(5_000);
        let event = match world.random.random_range(0..8) {
            0 => MediaEvent::AgentFailed(endpoint, AgentFailure::Refused("503".into())),
            1 => MediaEvent::AgentFailed(endpoint, AgentFailure::ConnectTimeout),
            _ => MediaEvent::AgentReady(endpoint),
        };
        world.plan(after, Deed::Media(event));
        if world.chance(0.3) {
            let asked = after + world.while_of(60_000);
            let request = TransferRequest {
                to: "+15559000".into(),
                trunk: None,
                by: None,
            };
            world.plan(asked, Deed::Media(MediaEvent::AgentAsks(endpoint, request)));
        }
        let after = after + world.while_of(120_000);
        let event = match world.random.random_range(0..8) {
            0 => MediaEvent::AgentFailed(endpoint, AgentFailure::Lost("gone".into())),
            4 => MediaEvent::AgentFailed(endpoint, AgentFailure::Silent),
            1 => MediaEvent::AgentEnded(endpoint),
            2 => MediaEvent::Lost(endpoint),
            3 => MediaEvent::Digit {
                endpoint,
                digit: '*',
                duration: Duration::from_millis(100),
            },
            _ => continue,
        };
        world.plan(after, Deed::Media(event));
    }
}

/// A deed is done.
pub fn act(world: &mut World, deed: Deed) {
    if !matches!(deed, Deed::Watch) {
        world.tell(format!("{deed:?}"));
    }
    let now = world.now;
    match deed {
        Deed::Call(number) => drop(call(world, number, Vec::new())),
        Deed::In(name, dialog, act) => {
            let sdp = sdp(world, name);
            let Some(person) = world.people.get_mut(&name) else {
                return;
            };
            let endpoint = &mut person.endpoint;
            match act {
                Act::Ring(status, early) => endpoint.ring(now, dialog, status, early.then_some(sdp)),
                Act::Answer => endpoint.answer(now, dialog, sdp),
                Act::Reject(status) => endpoint.reject(now, dialog, status, &[]),
                Act::HangUp => {
                    person.up.remove(&dialog);
                    endpoint.hang_up(now, dialog, Some("Q.850;cause=16"));
                }
                Act::Offer => {
                    endpoint.offer(now, dialog, sdp);
                }
                Act::AnswerUpdate => endpoint.answer_update(now, dialog, sdp),
                Act::RefuseUpdate(status) => endpoint.reject_update(now, dialog, status, &[]),
                Act::Update => {
                    let content = Some(Content {
                        content_type: "application/sdp".into(),
                        body: sdp,
                    });
                    let within = Within {
                        method: WithinMethod::Update,
                        headers: Vec::new(),
                        content,
                    };
                    endpoint.request(now, dialog, within);
                }
                Act::AcceptRefer => endpoint.accept_refer(now, dialog),
                Act::RefuseRefer => endpoint.refuse_refer(now, dialog, 603, &[]),
                Act::Tell(status) => endpoint.tell_of_refer(now, dialog, Progress::of(status)),
                Act::Replace => {
                    let Some(replaces) = endpoint.refer_to_replace(dialog) else {
                        return;
                    };
                    let (_, named) = replaces.split_once("?Replaces=").unwrap();
                    let (named, _) = named.split_once('&').unwrap();
                    let named = named.replace("%3B", ";").replace("%3D", "=").replace("%40", "@");
                    let dialog = call(world, "+15550001", vec![("Replaces".into(), named)]);
                    world.replacing.extend(dialog);
                }
                Act::Ask(method) => {
                    let within = Within {
                        method,
                        headers: vec![
                            ("Refer-To".into(), "<sip:+15551234@203.0.113.50>".into()),
                            ("Event".into(), "refer".into()),
                        ],
                        content: None,
                    };
                    endpoint.request(now, dialog, within);
                }
            }
        }
        Deed::Die(name) => {
            world.books.silence(name.ip());
            let refuses = world.chance(0.5);
            if let Some(person) = world.people.get_mut(&name) {
                person.alive = false;
                person.refuses = refuses;
                person.up.clear();
            }
        }
        Deed::Media(event) => world.core.media(now, event),
        Deed::Resolve(call, host, found) => world.core.resolved(now, call, &host, found),
        Deed::Locate(asker, found) => world.core.located(now, asker, found),
        Deed::Respond(id, answered) => world.core.responded(now, id, answered),
        Deed::Watch => world.core.watch_media(now),
        Deed::Place => {
            let agent = ["echo", "bot", ""][world.random.random_range(0..3)];
            let mut application = PlacedApplication::default();
            if agent.is_empty() {
                application.document.voice_url = Some("http://app.example/voice".into());
                application.status_callback = Some("http://app.example/status".into());
            }
            let placing = Placing {
                trunk: "carrier".into(),
                agent: agent.into(),
                application,
                ring_timeout_s: [None, Some(5)][world.random.random_range(0..2)],
                caller_id: None,
                tenant: None,
                parameters: BTreeMap::new(),
                headers: BTreeMap::new(),
            };
            let to = "+15557000".to_owned();
            match world.core.place_call(CallRequest { to, placing }) {
                Ok(result) => world
                    .placed
                    .push(CallId(u64::from_str_radix(&result.call, 16).unwrap())),
                Err(error) => assert_eq!(error, PlaceError::Stopping),
            }
        }
        Deed::Operate => operate(world),
        Deed::Stop => world.core.stop(now, "the gateway is stopping"),
    }
}

/// The operator meddles with whatever call there is. What cannot be is refused, which is as good.
fn operate(world: &mut World) {
    let (active, now) = (world.core.calls_report().active, world.now);
    if active.is_empty() {
        return;
    }
    let call = active[world.random.random_range(0..active.len())].id.clone();
    let refused = match world.random.random_range(0..8) {
        0 => world.core.cancel_transfer(now, &call).err(),
        1 => {
            let placed = world.placed.last().copied();
            placed.map(|placed| world.core.cancel_call(placed, now, Requester::Operator).unwrap());
            None
        }
        3 => {
            let text = "<Response><Dial>+15559000</Dial></Response>".to_owned();
            let change = Change::Document(Source::Text(text));
            // Not every call is answered.
            drop(world.core.change_call(now, &call, change, Requester::RestApi));
            None
        }
        2 => {
            let order = TransferOrder {
                to_call: Some(active[world.random.random_range(0..active.len())].id.clone()),
                ..TransferOrder::default()
            };
            world.core.transfer(now, &call, &order).err()
        }
        _ => {
            let order = TransferOrder {
                to: "+15558888".into(),
                trunk: [None, Some("carrier".into())][world.random.random_range(0..2)].clone(),
                by: [None, Some("refer".into())][world.random.random_range(0..2)].clone(),
                leaves: [None, Some(Side::A)][world.random.random_range(0..2)],
                ringing: [None, Some(Ringing::Ringback)][world.random.random_range(0..2)],
                timeout_s: [None, Some(5)][world.random.random_range(0..2)],
                ..TransferOrder::default()
            };
            world.core.transfer(now, &call, &order).err()
        }
    };
    world.tell(format!("the operator and {call}: {refused:?}"));
}

/// The caller calls a number.
fn call(world: &mut World, number: &str, headers: Vec<(String, String)>) -> Option<DialogId> {
    let party = |user: &str| Address {
        display: String::new(),
        user: user.into(),
        host: "203.0.113.50".into(),
        port: None,
    };
    let now = world.now;
    let sdp = sdp(world, CALLER.into());
    let person = world.people.get_mut(&CALLER.into())?;
    let dialog = person.endpoint.invite(
        now,
        Outgoing {
            local: CALLER.into(),
            remote: GATEWAY.into(),
            transport: Transport::Udp,
            peer: None,
            large: Large::default(),
            request_uri: party(number),
            from: party("+15557777"),
            to: party(number),
            max_forwards: MAX_FORWARDS,
            trunk: Some(TRUNK.into()),
            headers,
            user_phone: UserPhone::Off,
            patience: None,
            sdp,
        },
    );
    if world.chance(0.05) {
        let after = world.while_of(20_000);
        world.plan(after, Deed::In(CALLER.into(), dialog, Act::HangUp));
    }
    Some(dialog)
}
