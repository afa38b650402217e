//! Calls that are looked at no further: before anything is kept of them, most before credentials are asked for.
//!
//! Over UDP the source of a request may be forged. Where no trunk is, each request outside dialogs gets one answer, no longer than
//! it was itself: no 100, no transaction, and so nothing that is repeated.

use std::collections::BTreeMap;

use super::super::api::Transmit;
use super::super::dialog::Reply;
use super::super::domains::Domains;
use super::super::path::{Path, Transport};
use super::super::syntax::Request;
use super::Endpoint;
use crate::guard::Reason;
use crate::guard::intake::Intake;
use crate::time::Time;

impl Endpoint {
    /// The same, which knows whose domains calls are addressed to.
    #[must_use]
    pub fn with_domains(self, domains: Domains) -> Self {
        Self { domains, ..self }
    }

    /// The same, which takes calls as this says.
    #[must_use]
    pub fn with_intake(self, intake: Intake) -> Self {
        Self { intake, ..self }
    }

    /// Takes no new calls for this reason, or takes them again: they get 503, and so does OPTIONS. What is there goes on.
    pub fn close_intake(&mut self, reason: Option<Reason>) {
        self.intake.close(reason);
        self.options_status(if reason.is_some() { 503 } else { 200 });
    }

    /// Why no call may begin now, if so.
    pub fn refuses_calls(&mut self, now: Time) -> Option<Reason> {
        self.intake.reason(now)
    }

    /// A call is refused for this reason by the call layer; after how many seconds it may come again.
    pub fn retry_after(&mut self, reason: Reason) -> u64 {
        self.intake.refuse(reason, self.ids.chance())
    }

    /// Calls that were refused for being too many, by reason.
    pub fn refused_calls(&self) -> &BTreeMap<Reason, u64> {
        self.intake.refused()
    }

    /// What the other side of a connection asked for when it connected over TLS.
    pub(super) fn server_name(&self, path: Path) -> Option<&str> {
        self.server_names.get(&path.connection?).map(String::as_str)
    }

    /// Whether a call goes no further.
    pub(super) fn turns_away(&mut self, now: Time, path: Path, request: &Request) -> bool {
        self.drops(path, request) || self.is_too_many(now, path, request)
    }

    /// Whether a call gets no answer, because it is for a tenant that is not known; if so, it is counted.
    fn drops(&mut self, path: Path, request: &Request) -> bool {
        let drops = self.domains.drops(&request.uri.host, self.server_name(path));
        if drops {
            tracing::debug!(remote = %path.remote, host = request.uri.host, "call to an unknown tenant dropped");
            self.shared.counters.dropped += 1;
        }
        drops
    }

    /// Whether a call gets 503, because there are too many or there is too much to do. Nothing is kept of it: its ACK is a
    /// stray one, and if it comes again it is looked at again.
    fn is_too_many(&mut self, now: Time, path: Path, request: &Request) -> bool {
        let Some(reason) = self.intake.reason(now) else {
            return false;
        };
        let seconds = self.intake.refuse(reason, self.ids.chance());
        let reply = Reply::new(request, path);
        let tag = self.ids.tag();
        let retry_after = seconds.to_string();
        let why = format!("SIP;cause=503;text=\"{}\"", reason.text());
        let response = self.plain(&reply, 503, &tag, &[("Retry-After", &retry_after), ("Reason", &why)]);
        tracing::debug!(remote = %path.remote, reason = reason.name(), "call refused");
        self.answer_once(&reply, request, 503, &tag, response);
        true
    }

    /// 403: no trunk allows calls from there. It is counted, and logged now and then.
    pub(super) fn refuse_stranger(&mut self, now: Time, path: Path, request: &Request, tag: &str) {
        let text = format!("no trunk allows calls from {}", path.remote.ip().to_canonical());
        let (from, to) = (&request.from.uri.user, &request.uri.user);
        if self.grumbles.take(now) {
            tracing::warn!(remote = %path.remote, from, to, status = 403, "call refused: {text}");
        } else {
            tracing::debug!(remote = %path.remote, from, to, status = 403, "call refused: {text}");
        }
        self.shared.counters.strangers += 1;
        let reply = Reply::new(request, path);
        let why = format!("SIP;cause=403;text=\"{text}\"");
        let response = self.plain(&reply, 403, tag, &[("Reason", &why)]);
        self.answer_once(&reply, request, 403, tag, response);
    }

    /// The To tag of a final response to a request outside dialogs: where nothing is kept of it, the same each time it comes.
    pub(super) fn tag_outside(&mut self, path: Path, request: &Request) -> String {
        match self.admission.is_stranger(path.remote.ip()) {
            true => self.admission.tag_for(request),
            false => self.ids.tag(),
        }
    }

    /// The final response to a request outside dialogs, except to an INVITE that is let in: within a transaction, but for
    /// somebody from where no trunk is.
    pub(super) fn finish_outside(
        &mut self,
        now: Time,
        reply: &Reply,
        request: &Request,
        status: u16,
        response: Vec<u8>,
    ) {
        if self.admission.is_stranger(reply.path.remote.ip()) {
            let tag = self.admission.tag_for(request);
            self.answer_once(reply, request, status, &tag, response);
        } else {
            self.finish(now, request, reply.path, status, response);
        }
    }

    /// Sends an answer of which nothing is kept. A forged source is not to be sent more than the forger spent: over UDP
    /// an answer that is longer than the request is sent with no more than it must have, or not at all.
    fn answer_once(&mut self, reply: &Reply, request: &Request, status: u16, tag: &str, mut response: Vec<u8>) {
        let may_be_forged = reply.path.transport == Transport::Udp;
        if may_be_forged && response.len() > request.length {
            response = reply.write(status, tag).finish(None);
        }
        if may_be_forged && response.len() > request.length {
            return;
        }
        self.shared.outbox.send(Transmit {
            path: reply.path,
            data: response,
        });
    }
}
