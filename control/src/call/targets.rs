//! Which targets of a leg that is being placed are still to be tried, and how those went that were (RFC 3263 section 4.3,
//! RFC 3261 section 8.1.3.4).
//!
//! A leg has a list of [`Way`]s: the gateways of its trunk, in the order in which they are tried, then where it was redirected
//! to. Each is looked up when its turn comes, which gives one or several [`Target`]s. Whoever places a leg asks for the
//! [`Next`] of them, and says what became of it:
//!
//! ```text
//!   advance() ─► LookUp(place) ─► found(…) | not_found(…) ─► advance()
//!          ─► Try(target)   ─► failed(…) ─► Then::Next ─► advance()
//!          │                            └─► Then::End
//!          └► Exhausted
//! ```

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::config::model::Redirects;
use crate::sip::locate::{Destination, Place};
use crate::sip::{Address, Failure, Redirect, Transport};

/// Most places that a leg is redirected to.
const MOST_REDIRECTS: usize = 10;
/// Most attempts that are kept.
const MOST_KEPT: usize = 32;

/// Somewhere to send an INVITE to, not looked up yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// Where.
    pub place: Place,
    /// Which gateway of the trunk that is, by its place in the configuration; `None`: a host that is not the trunk's.
    pub gateway: Option<u8>,
    /// Request-URI, where it is not the leg's own.
    pub request_uri: Option<Address>,
}

/// Where an INVITE is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Address and transport.
    pub destination: Destination,
    /// As of [`Way::gateway`].
    pub gateway: Option<u8>,
    /// As of [`Way::request_uri`].
    pub request_uri: Option<Address>,
}

/// Something that was tried, and how it went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The place as it is named.
    pub place: String,
    /// Where that was, if it was found.
    pub destination: Option<Destination>,
    /// What came of it: status and reason phrase, or why it could not be sent.
    pub outcome: String,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Find out where this is.
    LookUp(Place),
    /// Send an INVITE.
    Try(Target),
    /// Nothing: everything has failed.
    Exhausted,
}

/// What is to be done after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Try what is next.
    Next,
    /// The failure is the leg's.
    End,
}

/// Whether a place is being looked up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Looking {
    #[default]
    No,
    Yes,
}

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Targets {
    /// Whether and where redirects are followed.
    policy: Redirects,
    /// The domain that is called: what is redirected there goes by the trunk's gateways.
    request_uri: Address,
    /// The trunk's gateways, to be tried again for another number of theirs.
    gateways: Vec<Way>,
    ways: VecDeque<Way>,
    /// What was found of the way that was looked up last.
    found: VecDeque<Target>,
    current: Option<Way>,
    /// Whether that is being looked up.
    looking: Looking,
    trying: Option<Target>,
    /// What was called already, so that redirects end.
    called: Vec<String>,
    redirected: bool,
    tried: Vec<Attempt>,
}

impl Targets {
    /// All of a leg that calls `request_uri` by these gateways.
    pub fn new(gateways: Vec<Way>, request_uri: Address, policy: Redirects) -> Self {
        Self {
            policy,
            called: vec![called(&request_uri)],
            request_uri,
            ways: gateways.iter().cloned().collect(),
            gateways,
            found: VecDeque::new(),
            current: None,
            looking: Looking::No,
            trying: None,
            redirected: false,
            tried: Vec::new(),
        }
    }

    /// What was tried so far.
    pub fn tried(&self) -> &[Attempt] {
        &self.tried
    }

    /// Whether more can be tried than what is being tried.
    pub fn has_more(&self) -> bool {
        !self.found.is_empty() || !self.ways.is_empty()
    }

    /// What is to be done now.
    pub fn advance(&mut self) -> Next {
        if let Some(target) = self.found.pop_front() {
            self.trying = Some(target.clone());
            return Next::Try(target);
        }
        self.current = self.ways.pop_front();
        match &self.current {
            Some(way) => {
                self.looking = Looking::Yes;
                Next::LookUp(way.place.clone())
            }
            None => Next::Exhausted,
        }
    }

    /// Whether a place is being looked up.
    pub fn is_looking(&self) -> bool {
        self.looking == Looking::Yes
    }

    /// The place that was to be looked up is here.
    pub fn found(&mut self, destinations: Vec<Destination>) {
        self.looking = Looking::No;
        let Some(way) = &self.current else { return };
        let target = |destination| Target {
            destination,
            gateway: way.gateway,
            request_uri: way.request_uri.clone(),
        };
        self.found = destinations.into_iter().map(target).collect();
    }

    /// It cannot be found.
    pub fn not_found(&mut self, why: &str) {
        self.looking = Looking::No;
        self.note(None, why.to_owned());
    }

    /// What was to be tried cannot be, for a reason of ours that others of them need not share.
    pub fn passed_over(&mut self, why: &str) {
        let destination = self.trying.take().map(|target| target.destination);
        self.note(destination, why.to_owned());
    }

    /// What was tried has failed.
    pub fn failed(&mut self, status: u16, reason: &str, failure: &Failure) -> Then {
        let destination = self.trying.take().map(|target| target.destination);
        let outcome = match failure {
            Failure::Silent => "no answer".to_owned(),
            Failure::Refused { .. } | Failure::Unreachable | Failure::TakenBack => format!("{status} {reason}"),
        };
        self.note(destination, outcome);
        match (failure, status) {
            (Failure::Silent | Failure::Unreachable, _) | (Failure::Refused { .. }, 503) => Then::Next,
            (Failure::TakenBack, _) | (Failure::Refused { .. }, 600..) => Then::End,
            (Failure::Refused { redirects, .. }, 300..=399) => self.redirect(redirects, destination),
            // One of several contacts refuses: the others are as good (RFC 3261 section 8.1.3.4).
            (Failure::Refused { .. }, _) if self.redirected && !self.ways.is_empty() => {
                self.found.clear();
                Then::Next
            }
            (Failure::Refused { .. }, _) => Then::End,
        }
    }

    /// Contacts take the place of what else there was: the other gateways would say the same.
    fn redirect(&mut self, redirects: &[Redirect], from: Option<Destination>) -> Then {
        let ways: Vec<Way> = redirects
            .iter()
            .flat_map(|redirect| self.ways_of(redirect, from))
            .collect();
        if ways.is_empty() {
            return Then::End;
        }
        self.redirected = true;
        self.found.clear();
        // A contact that redirects again comes before those beside it.
        let beside = std::mem::take(&mut self.ways);
        let beside = beside.into_iter().filter(|way| way.request_uri.is_some());
        self.ways = ways.into_iter().chain(beside).collect();
        Then::Next
    }

    /// Where a contact leads, if it may be followed.
    fn ways_of(&mut self, redirect: &Redirect, from: Option<Destination>) -> Vec<Way> {
        let Redirect { address, transport } = redirect;
        let domain = &self.request_uri;
        let request_uri = match address.host.as_str() {
            // A number alone is one of the same carrier.
            "" => Address {
                user: address.user.clone(),
                ..domain.clone()
            },
            _ => Address {
                display: String::new(),
                ..address.clone()
            },
        };
        let name = called(&request_uri);
        if self.called.len() > MOST_REDIRECTS || self.called.contains(&name) {
            return Vec::new();
        }
        let by = |way: &Way| Way {
            request_uri: Some(request_uri.clone()),
            ..way.clone()
        };
        let own_domain = request_uri.host.eq_ignore_ascii_case(&domain.host) && request_uri.port == domain.port;
        let gateway = self.gateways.iter().find(|way| {
            let port = request_uri.port.or(way.place.port) == way.place.port;
            port && way.place.host.eq_ignore_ascii_case(&request_uri.host)
        });
        let ways = match (self.policy, own_domain, gateway) {
            (Redirects::Off, _, _) | (Redirects::Trunk, false, None) => Vec::new(),
            (_, true, _) => self.gateways.iter().map(by).collect(),
            (_, false, Some(gateway)) => vec![by(gateway)],
            (Redirects::Any, false, None) => vec![Way {
                place: Place {
                    host: request_uri.host.clone(),
                    port: request_uri.port,
                    transport: transport_of(*transport, from),
                },
                gateway: None,
                request_uri: Some(request_uri.clone()),
            }],
        };
        if !ways.is_empty() {
            self.called.push(name);
        }
        ways
    }

    fn note(&mut self, destination: Option<Destination>, outcome: String) {
        let place = self
            .current
            .as_ref()
            .map(|way| way.place.to_string())
            .unwrap_or_default();
        if self.tried.len() < MOST_KEPT {
            self.tried.push(Attempt {
                place,
                destination,
                outcome,
            });
        }
    }
}

/// The transport to a contact: what it asks for, else the one that it was told by. What nobody on the way could read stays
/// so.
fn transport_of(asked: Option<Transport>, from: Option<Destination>) -> Option<Transport> {
    let from = from.map(|from| from.transport);
    match from {
        Some(Transport::Tls) => from,
        Some(Transport::Udp | Transport::Tcp) | None => asked.or(from),
    }
}

/// What two requests have in common that would go the same way.
fn called(uri: &Address) -> String {
    let host = uri.host.to_ascii_lowercase();
    match uri.port {
        Some(port) => format!("{}@{host}:{port}", uri.user),
        None => format!("{}@{host}", uri.user),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(host: &str) -> Place {
        Place {
            host: host.into(),
            port: None,
            transport: None,
        }
    }

    fn address(user: &str, host: &str) -> Address {
        Address {
            display: String::new(),
            user: user.into(),
            host: host.into(),
            port: None,
        }
    }

    fn targets(hosts: &[&str], policy: Redirects) -> Targets {
        let way = |(index, host): (u8, &&str)| Way {
            place: place(host),
            gateway: Some(index),
            request_uri: None,
        };
        let ways = (0..).zip(hosts).map(way).collect();
        Targets::new(ways, address("+15550100", "c.example"), policy)
    }

    fn at(number: u8) -> Destination {
        Destination {
            remote: ([192, 0, 2, number], 5060).into(),
            transport: Transport::Udp,
        }
    }

    /// What is tried next, as `number@host by gateway`, once each place is found at one address.
    fn tries(targets: &mut Targets) -> Option<String> {
        loop {
            match targets.advance() {
                Next::LookUp(_) => targets.found(vec![at(1)]),
                Next::Try(target) => {
                    let uri = target.request_uri.as_ref().map_or_else(|| "own".to_owned(), called);
                    let place = targets.current.as_ref().map(|way| way.place.host.clone());
                    return Some(format!("{uri} by {}", place.unwrap_or_default()));
                }
                Next::Exhausted => return None,
            }
        }
    }

    fn redirected(targets: &mut Targets, contacts: &[(&str, &str)]) -> Then {
        let redirect = |(user, host): &(&str, &str)| Redirect {
            address: address(user, host),
            transport: None,
        };
        let redirects = contacts.iter().map(redirect).collect();
        let failure = Failure::Refused {
            redirects,
            retry_after: None,
        };
        targets.failed(302, "Moved", &failure)
    }

    #[test]
    fn one_gateway_after_the_other_and_each_of_its_addresses() {
        let mut targets = targets(&["a", "b"], Redirects::Any);
        assert_eq!(targets.advance(), Next::LookUp(place("a")));
        targets.found(vec![at(1), at(2)]);
        for number in [1, 2] {
            let Next::Try(target) = targets.advance() else { panic!() };
            assert_eq!((target.destination, target.gateway), (at(number), Some(0)));
            assert!(targets.has_more());
            assert_eq!(targets.failed(408, "x", &Failure::Silent), Then::Next);
        }
        assert_eq!(targets.advance(), Next::LookUp(place("b")));
        targets.not_found("no such name");
        assert!(!targets.has_more());
        assert_eq!(targets.advance(), Next::Exhausted);
        let tried: Vec<(&str, &str)> = targets.tried().iter().map(|t| (&*t.place, &*t.outcome)).collect();
        assert_eq!(tried, [("a", "no answer"), ("a", "no answer"), ("b", "no such name")]);
    }

    #[test]
    fn what_is_final_and_what_is_not() {
        for (status, failure, then) in [
            (503, Failure::refused(), Then::Next),
            (503, Failure::Unreachable, Then::Next),
            (408, Failure::Silent, Then::Next),
            (408, Failure::refused(), Then::End),
            (486, Failure::refused(), Then::End),
            (500, Failure::refused(), Then::End),
            (603, Failure::refused(), Then::End),
            (302, Failure::refused(), Then::End),
            (487, Failure::TakenBack, Then::End),
        ] {
            let mut targets = targets(&["a", "b"], Redirects::Any);
            tries(&mut targets);
            assert_eq!(targets.failed(status, "x", &failure), then, "{status} {failure:?}");
        }
    }

    #[test]
    fn contacts_are_tried_in_turn_whatever_they_refuse_with_but_6xx() {
        let mut targets = targets(&["a", "b"], Redirects::Any);
        assert_eq!(tries(&mut targets).as_deref(), Some("own by a"));
        let contacts = [("1", "x"), ("2", "y"), ("3", "z"), ("4", "w")];
        assert_eq!(redirected(&mut targets, &contacts), Then::Next);
        assert_eq!(tries(&mut targets).as_deref(), Some("1@x by x"));
        assert_eq!(targets.failed(404, "x", &Failure::refused()), Then::Next);
        assert_eq!(tries(&mut targets).as_deref(), Some("2@y by y"));
        // It redirects on: that comes first.
        assert_eq!(redirected(&mut targets, &[("5", "v")]), Then::Next);
        assert_eq!(tries(&mut targets).as_deref(), Some("5@v by v"));
        assert_eq!(targets.failed(503, "x", &Failure::refused()), Then::Next);
        assert_eq!(tries(&mut targets).as_deref(), Some("3@z by z"));
        assert_eq!(targets.failed(600, "x", &Failure::refused()), Then::End);
    }

    #[test]
    fn redirects_within_the_trunk_go_by_its_gateways() {
        let mut own = targets(&["a", "b"], Redirects::Trunk);
        tries(&mut own);
        // Elsewhere is not followed, the gateways' own names and a number alone are.
        assert_eq!(redirected(&mut own, &[("1", "x")]), Then::End);
        assert_eq!(
            redirected(&mut own, &[("1", "x"), ("2", "B"), ("3", ""), ("4", "C.example")]),
            Then::Next
        );
        let order: Vec<String> = std::iter::from_fn(|| tries(&mut own)).collect();
        assert_eq!(
            order,
            [
                "2@b by b",
                "3@c.example by a",
                "3@c.example by b",
                "4@c.example by a",
                "4@c.example by b"
            ]
        );
        let mut off = targets(&["a"], Redirects::Off);
        tries(&mut off);
        assert_eq!(redirected(&mut off, &[("2", "a")]), Then::End);
    }

    #[test]
    fn redirects_in_a_circle_and_without_end_end() {
        let mut circle = targets(&["a"], Redirects::Any);
        tries(&mut circle);
        assert_eq!(redirected(&mut circle, &[("+15550100", "C.EXAMPLE")]), Then::End);
        assert_eq!(redirected(&mut circle, &[("1", "x")]), Then::Next);
        tries(&mut circle);
        assert_eq!(
            redirected(&mut circle, &[("1", "X"), ("+15550100", "c.example")]),
            Then::End
        );
        let mut endless = targets(&["a"], Redirects::Any);
        let mut followed = 0;
        while tries(&mut endless).is_some() {
            followed += 1;
            let next = followed.to_string();
            if redirected(&mut endless, &[(&next, "x")]) == Then::End {
                break;
            }
        }
        assert_eq!(followed, MOST_REDIRECTS + 1);
    }

    #[test]
    fn nobody_is_led_out_of_tls() {
        let from = |transport| Some(Destination { transport, ..at(1) });
        assert_eq!(
            transport_of(Some(Transport::Udp), from(Transport::Tls)),
            Some(Transport::Tls)
        );
        assert_eq!(
            transport_of(Some(Transport::Tls), from(Transport::Udp)),
            Some(Transport::Tls)
        );
        assert_eq!(transport_of(None, from(Transport::Tcp)), Some(Transport::Tcp));
    }
}
