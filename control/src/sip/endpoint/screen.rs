//! Calls that are looked at no further: before credentials are asked for, and before anything is kept of them.

use super::super::domains::Domains;
use super::super::path::Path;
use super::super::syntax::Request;
use super::Endpoint;

impl Endpoint {
    /// The same, which knows whose domains calls are addressed to.
    #[must_use]
    pub fn with_domains(self, domains: Domains) -> Self {
        Self { domains, ..self }
    }

    /// What the other side of a connection asked for when it connected over TLS.
    pub(super) fn server_name(&self, path: Path) -> Option<&str> {
        self.server_names.get(&path.connection?).map(String::as_str)
    }

    /// Whether a call gets no answer, because it is for a tenant that is not known; if so, it is counted.
    pub(super) fn drops(&mut self, path: Path, request: &Request) -> bool {
        let drops = self.domains.drops(&request.uri.host, self.server_name(path));
        if drops {
            tracing::debug!(remote = %path.remote, host = request.uri.host, "call to an unknown tenant dropped");
            self.shared.counters.dropped += 1;
        }
        drops
    }
}
