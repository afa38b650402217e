//! Hosts that an account's documents, streams and callbacks may be at: a tenant is not to have the gateway ask hosts that only
//! the gateway reaches.

use std::sync::Arc;

/// Names and addresses of hosts; unless there are any, every host may be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedHosts(Option<Arc<[String]>>);

impl AllowedHosts {
    /// These, in small letters: `app.example`, `*.example` for whatever is below it, or an address.
    pub fn these(hosts: Vec<String>) -> Self {
        Self(Some(hosts.into()))
    }

    /// Whether a host of a URL is among them. Ports make no difference.
    pub fn has(&self, host: &str) -> bool {
        let Some(hosts) = &self.0 else { return true };
        let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        let host = host.to_ascii_lowercase();
        hosts.iter().any(|allowed| match allowed.strip_prefix('*') {
            // What is left of it is ".example".
            Some(below) => host.strip_suffix(below).is_some_and(|name| !name.is_empty()),
            None => host == *allowed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_allowed_by_name_below_a_name_and_by_address() {
        let allowed = ["app.example", "*.bots.example", "192.0.2.7", "2001:db8::7"];
        let allowed = AllowedHosts::these(allowed.map(str::to_owned).to_vec());
        for host in [
            "app.example",
            "APP.example.",
            "a.bots.example",
            "a.b.bots.example",
            "192.0.2.7",
            "[2001:db8::7]",
        ] {
            assert!(allowed.has(host), "{host}");
        }
        for host in [
            "",
            "example",
            "other.example",
            "sub.app.example",
            "bots.example",
            "abots.example",
            "app.example.evil",
            "127.0.0.1",
            "192.0.2.70",
            "[::1]",
        ] {
            assert!(!allowed.has(host), "{host}");
        }
        assert!(AllowedHosts::default().has("127.0.0.1"));
        assert!(!AllowedHosts::these(Vec::new()).has("app.example"));
    }
}
