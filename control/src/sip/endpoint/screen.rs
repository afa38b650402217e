//! Calls that are looked at no further: before credentials are asked for, and before anything is kept of them.

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
        let mut response = self.plain(&reply, 503, &tag, &[("Retry-After", &retry_after), ("Reason", &why)]);
        // A forged source is not to be sent more than the forger spent.
        if path.transport == Transport::Udp && response.len() > request.length {
            response = reply.write(503, &tag).finish(None);
        }
        tracing::debug!(remote = %path.remote, reason = reason.name(), "call refused");
        self.shared.outbox.send(Transmit {
            path: reply.path,
            data: response,
        });
        true
    }
}
