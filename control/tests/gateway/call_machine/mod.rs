//! The call state machine: what carriers and agents see of it, and what may never happen.

mod agents;
mod changes;
mod ends;
mod fallbacks;
mod keys;
mod offers;
mod refers;
mod targets;
mod transfers;
mod walks;

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use voxlane::call::fallback::Fallback;
use voxlane::call::targets::Way;
use voxlane::call::transfer::{self, Asker, By, Order, Outcome, Ringing, Target};
use voxlane::call::{Action, Call, CallId, Cause, Event, Origin, Outbound, Party, Phase, Plan, Setup, Side};
use voxlane::config::model::{HostPort, KeysInClear, LegMedia, Redirects, SdpIdentity, SrtpPolicy, Transcode};
use voxlane::route::identity::Identity;
use voxlane::sdp::Crypto;
use voxlane::sip::locate::{Destination, Place};
use voxlane::sip::{Address, Failure, Privacy, Termination, Transport, UserPhone};
use voxlane::time::Time;
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::media_plane::{
    AgentFailure, Endpoint, EndpointId, FailureKind, LatchMode, Pacing, RtcpPort, Session,
};
use voxlane_dataplane::srtp::{Keying, SrtpKeys, Suite};

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
    m=audio 40000 RTP/AVP 8 0 96\r\na=rtpmap:96 telephone-event/8000\r\n";
const ANSWER: &str = "v=0\r\no=- 2 2 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\n\
    m=audio 50000 RTP/AVP 8 96\r\na=rtpmap:96 telephone-event/8000\r\n";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn agent_plan(host: bool) -> Plan {
    let host = host.then(|| HostPort {
        host: "bot.example".into(),
        port: 80,
    });
    Plan::Agent {
        name: "bot".into(),
        host,
    }
}

fn way(host: &str, gateway: u8) -> Way {
    Way {
        place: Place {
            host: host.into(),
            port: None,
            transport: None,
        },
        gateway: Some(gateway),
        request_uri: None,
    }
}

/// The place that was to be located is here.
fn located(addresses: &[&str]) -> Event {
    let at = |text: &&str| Destination {
        remote: address(text),
        transport: Transport::Udp,
    };
    Event::Located(addresses.iter().map(at).collect())
}

fn trunk_plan() -> Plan {
    let party = |user: &str| Address {
        display: String::new(),
        user: user.into(),
        host: "c.example".into(),
        port: None,
    };
    Plan::Trunk(Box::new(Outbound {
        ways: vec![way("c.example", 0)],
        patience: Duration::from_secs(4),
        redirects: Redirects::Any,
        request_uri: party("+15551000"),
        identity: Identity {
            from: party("+15550100"),
            asserted: None,
            privacy: Privacy::None,
        },
        to: party("+15551000"),
        user_phone: UserPhone::Off,
        max_forwards: 69,
        codecs: Codec::ALL.to_vec(),
        media: LegMedia {
            pacing: Pacing::Auto,
            ..LegMedia::default()
        },
    }))
}

fn call(plan: Plan, offer: Option<&str>) -> Call {
    let setup = Setup {
        id: CallId(1),
        origin: Origin::Caller,
        offer: offer.map(|offer| offer.as_bytes().to_vec()),
        remote: address("192.0.2.1:5060"),
        transport: Transport::Udp,
        identity: SdpIdentity {
            origin_user: "trusst".into(),
            session_name: "test".into(),
        },
        session_id: 1000,
        codecs: Codec::ALL.to_vec(),
        media: LegMedia {
            latch: LatchMode::Open,
            ..LegMedia::default()
        },
        ptime: 20,
        plan,
    };
    Call::new(setup, Time::ZERO)
}

/// A call that an agent places.
fn placed_call() -> Call {
    let mut setup = call(trunk_plan(), None).setup().clone();
    setup.origin = Origin::Agent {
        name: "bot".into(),
        host: Some(HostPort {
            host: "bot.example".into(),
            port: 443,
        }),
    };
    Call::new(setup, Time::ZERO)
}

/// A call on a trunk with `srtp = "required"`.
fn secured_call(plan: Plan, offer: &str, in_clear: KeysInClear) -> Call {
    let mut setup = call(plan, Some(offer)).setup().clone();
    setup.media.srtp = SrtpPolicy::Required;
    setup.media.srtp_keys_in_clear = in_clear;
    Call::new(setup, Time::ZERO)
}

fn on(call: &mut Call, event: Event) -> Vec<Action> {
    call.on(event, Time::ZERO)
}

/// The agent fails, and nothing is configured for that.
fn fails(call: &mut Call, failure: AgentFailure) -> Vec<Action> {
    let kind = failure.kind();
    assert_eq!(on(call, Event::AgentFailed(failure)), [Action::FallBack(kind)]);
    on(call, Event::FallBack(hang_up()))
}

fn hang_up() -> Fallback {
    Fallback::HangUp {
        status: None,
        cause: None,
        why: None,
    }
}

fn opened(side: Side) -> Event {
    let (id, rtp) = match side {
        Side::A => (1, "203.0.113.50:10000"),
        Side::B => (2, "203.0.113.50:10002"),
        Side::C => (3, "203.0.113.50:10004"),
    };
    Event::MediaOpened {
        side,
        endpoint: Endpoint {
            id: EndpointId(id),
            rtp: address(rtp),
        },
    }
}

/// A relayed call, as far as leg B's INVITE.
fn dialled() -> Call {
    let mut call = call(trunk_plan(), Some(OFFER));
    on(&mut call, Event::Start);
    let actions = on(&mut call, opened(Side::A));
    assert!(matches!(&actions[..], [Action::Locate(_)]), "{actions:?}");
    on(&mut call, located(&["192.0.2.2:5060"]));
    let actions = on(&mut call, opened(Side::B));
    assert!(matches!(&actions[..], [Action::Invite { .. }]), "{actions:?}");
    call
}

fn text(sdp: &[u8]) -> String {
    String::from_utf8(sdp.to_vec()).unwrap()
}

/// What a leg is programmed with.
fn programmed(actions: &[Action], wanted: Side) -> &Session {
    let found = actions.iter().find_map(|action| match action {
        Action::Program { side, session } if *side == wanted => Some(session),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("leg {wanted} is not programmed: {actions:?}"))
}

/// SDP with these payload types.
fn sdp_of(payload_types: &str) -> Vec<u8> {
    format!(
        "v=0\r\no=- 2 2 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\nm=audio 50000 RTP/AVP {payload_types}\r\n\
         a=rtpmap:96 telephone-event/8000\r\n"
    )
    .into_bytes()
}

fn answered_with(call: &mut Call, payload_types: &str) -> Vec<Action> {
    let sdp = Some(sdp_of(payload_types));
    on(call, Event::Answered { sdp })
}

fn order(leaves: Side, ringing: Ringing) -> Box<Order> {
    let Plan::Trunk(outbound) = trunk_plan() else {
        unreachable!()
    };
    Box::new(Order {
        to: "+15552000".into(),
        by: By::Bridge(Box::new(Target {
            trunk: "third".into(),
            outbound: *outbound,
            referred_by: None,
        })),
        asked_by: Asker::Operator,
        leaves,
        ringing,
        timeout: Duration::from_secs(30),
    })
}
