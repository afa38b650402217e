//! The headers the core looks at, picked out of a message.

use rsip::Header;

use super::params::{MAX_ELEMENTS, split};
use crate::sip::digest::Challenger;

/// Most challenges, and most credentials, that are looked at.
const MAX_AUTHENTICATION: usize = 16;

/// Headers by what they mean. Comma lists are taken apart; header values are as written, folds joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// Via, topmost first.
    pub vias: Vec<String>,
    /// From.
    pub from: Option<String>,
    /// To.
    pub to: Option<String>,
    /// Call-ID.
    pub call_id: Option<String>,
    /// CSeq.
    pub cseq: Option<String>,
    /// Max-Forwards.
    pub max_forwards: Option<String>,
    /// Contact.
    pub contacts: Vec<String>,
    /// Record-Route, topmost first.
    pub record_routes: Vec<String>,
    /// Require: option tags.
    pub require: Vec<String>,
    /// Supported: option tags.
    pub supported: Vec<String>,
    /// Allow: methods; none if it is not there.
    pub allow: Vec<String>,
    /// Session-Expires (RFC 4028).
    pub session_expires: Option<String>,
    /// Min-SE (RFC 4028).
    pub min_se: Option<String>,
    /// RSeq (RFC 3262).
    pub rseq: Option<String>,
    /// RAck (RFC 3262).
    pub rack: Option<String>,
    /// Content-Type.
    pub content_type: Option<String>,
    /// Accept, if it is there: media types with their parameters.
    pub accept: Option<Vec<String>>,
    /// Content-Encoding.
    pub content_encoding: Option<String>,
    /// Content-Disposition.
    pub content_disposition: Option<String>,
    /// Content-Length, bytes.
    pub content_length: Option<usize>,
    /// Timestamp, to be copied into a 100 (RFC 3261 section 8.2.6.1).
    pub timestamp: Option<String>,
    /// P-Asserted-Identity (RFC 3325): the first one.
    pub asserted: Option<String>,
    /// Reason (RFC 3326): the first one.
    pub reason: Option<String>,
    /// WWW-Authenticate and Proxy-Authenticate.
    pub challenges: Vec<(Challenger, String)>,
    /// Authorization.
    pub authorizations: Vec<String>,
    /// Expires: the first one.
    pub expires: Option<String>,
    /// Min-Expires: the first one.
    pub min_expires: Option<String>,
    /// Privacy (RFC 3323): the first one.
    pub privacy: Option<String>,
    /// Retry-After: the first one.
    pub retry_after: Option<String>,
    /// Warning: the first one.
    pub warning: Option<String>,
    /// Refer-Sub (RFC 4488): the first one.
    pub refer_sub: Option<String>,
    /// Event (RFC 6665): the first one.
    pub event: Option<String>,
    /// Subscription-State (RFC 6665): the first one.
    pub subscription_state: Option<String>,
    /// Refer-To (RFC 3515): the first two.
    pub refer_to: Vec<String>,
    /// Referred-By (RFC 3892): the first one.
    pub referred_by: Option<String>,
    /// Replaces (RFC 3891): the first two.
    pub replaces: Vec<String>,
    /// The first thing that is wrong with the headers, as a reason phrase.
    pub fault: Option<&'static str>,
}

impl Fields {
    /// Notes what is wrong; the first fault is kept.
    pub fn note(&mut self, fault: &'static str) {
        self.fault.get_or_insert(fault);
    }

    /// Takes in one header line.
    pub fn add(&mut self, header: Header) {
        match header {
            Header::Via(h) => list(&mut self.vias, h.into(), "Malformed Via", &mut self.fault),
            Header::Contact(h) => list(&mut self.contacts, h.into(), "Malformed Contact", &mut self.fault),
            Header::RecordRoute(h) => list(
                &mut self.record_routes,
                h.into(),
                "Malformed Record-Route",
                &mut self.fault,
            ),
            Header::Require(h) => list(&mut self.require, h.into(), "Malformed Require", &mut self.fault),
            Header::Supported(h) => list(&mut self.supported, h.into(), "Malformed Supported", &mut self.fault),
            Header::Allow(h) => list(&mut self.allow, h.into(), "Malformed Allow", &mut self.fault),
            Header::From(h) => once(&mut self.from, h.into(), "Repeated From", &mut self.fault),
            Header::To(h) => once(&mut self.to, h.into(), "Repeated To", &mut self.fault),
            Header::CallId(h) => once(&mut self.call_id, h.into(), "Repeated Call-ID", &mut self.fault),
            Header::CSeq(h) => once(&mut self.cseq, h.into(), "Repeated CSeq", &mut self.fault),
            Header::MaxForwards(h) => {
                once(
                    &mut self.max_forwards,
                    h.into(),
                    "Repeated Max-Forwards",
                    &mut self.fault,
                );
            }
            Header::ContentType(h) => {
                once(
                    &mut self.content_type,
                    h.into(),
                    "Repeated Content-Type",
                    &mut self.fault,
                );
            }
            Header::Accept(h) => list(
                self.accept.get_or_insert_default(),
                h.into(),
                "Malformed Accept",
                &mut self.fault,
            ),
            Header::ContentEncoding(h) => self.content_encoding = Some(h.into()),
            Header::ContentDisposition(h) => self.content_disposition = Some(h.into()),
            Header::Event(h) => {
                self.event.get_or_insert(h.into());
            }
            Header::Timestamp(h) => self.timestamp = Some(h.into()),
            Header::ContentLength(h) => self.content_length(&String::from(h)),
            Header::Other(name, value) if name.eq_ignore_ascii_case("P-Asserted-Identity") => {
                self.asserted.get_or_insert(value);
            }
            Header::Other(name, value) if name.eq_ignore_ascii_case("Reason") => {
                self.reason.get_or_insert(value);
            }
            Header::Other(name, value) if name.eq_ignore_ascii_case("WWW-Authenticate") => {
                self.challenge(Challenger::Server, value);
            }
            Header::Other(name, value) if name.eq_ignore_ascii_case("Proxy-Authenticate") => {
                self.challenge(Challenger::Proxy, value);
            }
            Header::Other(name, value) if name.eq_ignore_ascii_case("Authorization") => {
                self.authorizations.push(value);
                self.authorizations.truncate(MAX_AUTHENTICATION);
            }
            Header::Other(name, value) if name.eq_ignore_ascii_case("Refer-To") => {
                self.refer_to.push(value);
                self.refer_to.truncate(2);
            }
            Header::Other(name, value) if name.eq_ignore_ascii_case("Replaces") => {
                self.replaces.push(value);
                self.replaces.truncate(2);
            }
            Header::Other(name, value) => self.other(&name, value),
            // Headers a user agent may ignore (RFC 3261 section 8.2.2).
            _ => {}
        }
    }

    /// One that the message model has no name of its own for.
    fn other(&mut self, name: &str, value: String) {
        let slot = match () {
            () if name.eq_ignore_ascii_case("Session-Expires") => &mut self.session_expires,
            () if name.eq_ignore_ascii_case("RSeq") => &mut self.rseq,
            () if name.eq_ignore_ascii_case("RAck") => &mut self.rack,
            () if name.eq_ignore_ascii_case("Min-SE") => &mut self.min_se,
            () if name.eq_ignore_ascii_case("Retry-After") => &mut self.retry_after,
            () if name.eq_ignore_ascii_case("Expires") => &mut self.expires,
            () if name.eq_ignore_ascii_case("Min-Expires") => &mut self.min_expires,
            () if name.eq_ignore_ascii_case("Privacy") => &mut self.privacy,
            () if name.eq_ignore_ascii_case("Warning") => &mut self.warning,
            () if name.eq_ignore_ascii_case("Refer-Sub") => &mut self.refer_sub,
            () if name.eq_ignore_ascii_case("Referred-By") => &mut self.referred_by,
            () if name.eq_ignore_ascii_case("Subscription-State") => &mut self.subscription_state,
            () => return,
        };
        slot.get_or_insert(value);
    }

    /// These stand one a line (RFC 3261 section 7.3.1).
    fn challenge(&mut self, challenger: Challenger, value: String) {
        if self.challenges.len() < MAX_AUTHENTICATION {
            self.challenges.push((challenger, value));
        }
    }

    fn content_length(&mut self, text: &str) {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match (text.parse(), self.content_length) {
            (Ok(length), None) if digits => self.content_length = Some(length),
            (Ok(length), Some(before)) if digits && length == before => {}
            (Ok(_), Some(_)) if digits => self.note("Repeated Content-Length"),
            _ => self.note("Malformed Content-Length"),
        }
    }
}

fn list(into: &mut Vec<String>, value: String, fault: &'static str, slot: &mut Option<&'static str>) {
    match split(&value, ',') {
        Ok(elements) if into.len() + elements.len() <= MAX_ELEMENTS => {
            into.extend(elements.into_iter().filter(|e| !e.is_empty()).map(str::to_owned));
        }
        Ok(_) | Err(_) => {
            slot.get_or_insert(fault);
        }
    }
}

fn once(into: &mut Option<String>, value: String, fault: &'static str, slot: &mut Option<&'static str>) {
    match into {
        Some(_) => {
            slot.get_or_insert(fault);
        }
        None => *into = Some(value),
    }
}
