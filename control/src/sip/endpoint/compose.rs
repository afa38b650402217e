//! What the core writes into its messages.

use super::super::dialog::{Again, Reply};
use super::super::policy::Policy;
use super::super::refer;
use super::super::syntax::Writer;
use super::super::transaction::Path;
use super::super::within::Content;
use super::Endpoint;
use super::purpose::Refusal;

/// The content type that is understood.
pub(super) const SDP: &str = "application/sdp";

/// Our Contact.
fn contact(path: Path) -> String {
    format!("<sip:{}{}>", path.local, path.transport.parameter())
}

/// Our Contact with a user part, which has nothing that would have to be escaped.
pub(super) fn contact_of(user: &str, path: Path) -> String {
    format!("<sip:{user}@{}{}>", path.local, path.transport.parameter())
}

fn session(sdp: Option<&[u8]>) -> Option<(&'static str, &[u8])> {
    sdp.filter(|sdp| !sdp.is_empty()).map(|sdp| (SDP, sdp))
}

impl Endpoint {
    /// 100 Trying.
    pub(super) fn trying(&self, reply: &Reply) -> Vec<u8> {
        reply.write(100, "").finish(None)
    }

    /// A response that makes or keeps a dialog: 18x or 2xx.
    pub(super) fn accepting(
        &self,
        reply: &Reply,
        status: u16,
        tag: &str,
        sdp: Option<&[u8]>,
        policy: &Policy,
        headers: &[(&str, String)],
    ) -> Vec<u8> {
        let mut writer = reply.write(status, tag);
        reply.record_routes(&mut writer);
        writer.header("Contact", contact(reply.path));
        capabilities(&mut writer, policy);
        for (name, value) in headers {
            writer.header(name, value);
        }
        writer.header("Server", &self.config.user_agent);
        writer.finish(session(sdp))
    }

    /// Any other final response.
    pub(super) fn plain(&self, reply: &Reply, status: u16, tag: &str, headers: &[(&str, &str)]) -> Vec<u8> {
        let mut writer = reply.write(status, tag);
        for (name, value) in headers {
            writer.header(name, value);
        }
        writer.header("Server", &self.config.user_agent);
        writer.finish(None)
    }

    /// The answer to OPTIONS (RFC 3261 section 11.2).
    pub(super) fn options_answer(&self, reply: &Reply, status: u16, tag: &str) -> Vec<u8> {
        let mut writer = reply.write(status, tag);
        writer
            .header("Accept", SDP)
            .header("Accept-Encoding", "identity")
            .header("Accept-Language", "en");
        capabilities(&mut writer, &self.any_policy());
        writer.header("Server", &self.config.user_agent);
        writer.finish(None)
    }

    /// What is offered to somebody.
    fn any_policy(&self) -> Policy {
        let any = |any: Policy, policy: &Policy| any.or(*policy);
        self.policies.values().fold(Policy::default(), any)
    }

    /// The final response to a request we do not serve, with what would have been right.
    pub(super) fn refusal(&mut self, reply: &Reply, refusal: &Refusal, tag: &str) -> Vec<u8> {
        let mut writer = match refusal {
            Refusal::BadRequest(reason) => reply.write_reason(400, reason, tag),
            _ => reply.write(refusal.status(), tag),
        };
        match refusal {
            Refusal::MethodNotAllowed | Refusal::NotImplemented => {
                writer.header("Allow", self.any_policy().methods());
            }
            Refusal::UnsupportedMedia => {
                writer.header("Accept", SDP).header("Accept-Encoding", "identity");
            }
            Refusal::UnsupportedNews => {
                writer.header("Accept", refer::SIPFRAG);
            }
            Refusal::BadEvent => {
                writer.header("Allow-Events", refer::EVENT);
            }
            Refusal::BadExtension(tags) => {
                writer.header("Unsupported", tags.join(", "));
            }
            Refusal::IntervalTooSmall(least) => {
                writer.header("Min-SE", least);
            }
            Refusal::ExtensionRequired(tag) => {
                writer.header("Require", tag);
            }
            Refusal::StillAnswering => {
                writer.header("Retry-After", self.ids.retry_after());
            }
            Refusal::Forbidden => {
                writer.header("Reason", "SIP;cause=403;text=\"REFER is taken within a call only\"");
            }
            Refusal::BadRequest(_)
            | Refusal::Busy
            | Refusal::Decline
            | Refusal::NotAcceptable
            | Refusal::NoDialog
            | Refusal::Merged
            | Refusal::Pending
            | Refusal::OutOfOrder
            | Refusal::Overload => {}
        }
        writer.header("Server", &self.config.user_agent);
        writer.finish(None)
    }

    /// The rest of an INVITE whose first headers are written.
    pub(super) fn invite_request(
        &self,
        mut writer: Writer,
        path: Path,
        credentials: &[(String, String)],
        policy: &Policy,
        again: &Again,
    ) -> Vec<u8> {
        for (name, value) in credentials {
            writer.header(name, value);
        }
        writer.header("Contact", contact(path));
        capabilities(&mut writer, policy);
        writer.header("User-Agent", &self.config.user_agent);
        for (name, value) in again.terms.iter().chain(&again.headers) {
            writer.header(name, value);
        }
        writer.finish(session(Some(&again.sdp)))
    }
}

/// What we can do.
fn capabilities(writer: &mut Writer, policy: &Policy) {
    let tags = policy.option_tags().join(", ");
    writer.header("Allow", policy.methods()).header("Supported", tags);
}

/// The rest of a request within a dialog whose first headers are written; `contact` is the way that our Contact names.
pub(super) fn compose_within(
    mut writer: Writer,
    (contact_on, policy): (Option<Path>, &Policy),
    user_agent: &str,
    credentials: &[(String, String)],
    headers: &[(String, String)],
    content: Option<&Content>,
) -> Vec<u8> {
    if let Some(path) = contact_on {
        writer.header("Contact", contact(path));
        capabilities(&mut writer, policy);
    }
    for (name, value) in credentials.iter().chain(headers) {
        writer.header(name, value);
    }
    writer.header("User-Agent", user_agent);
    writer.finish(content.map(|content| (content.content_type.as_str(), content.body.as_slice())))
}
