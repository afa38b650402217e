//! The domains that calls are addressed to, and whose they are.

use std::collections::HashMap;
use std::net::IpAddr;

/// Whose a domain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named<'a> {
    /// A tenant's, of this name.
    Tenant(&'a str),
    /// Nobody's: an address, a name of the gateway itself, or any name where it has none of its own.
    Nobody,
    /// A tenant's of whom nothing is known.
    Unknown,
}

/// What becomes of calls to a tenant of whom nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownTenant {
    /// They are refused with 404.
    #[default]
    NotFound,
    /// They get no answer.
    Drop,
}

/// All of them. Host names have no case (RFC 4343).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Domains {
    /// Domain, in lower case, and tenant.
    tenants: HashMap<String, String>,
    /// What tenants' domains begin and end with where nothing else is said.
    template: Option<(String, String)>,
    /// Names of the gateway itself, in lower case; `None`: any.
    own: Option<Vec<String>>,
    unknown: UnknownTenant,
}

impl Domains {
    /// Domains with their tenants; `template` has `{tenant}` in it; `own` are names of the gateway itself, `None`: any.
    pub fn new<'a>(
        tenants: impl Iterator<Item = (&'a str, &'a str)>,
        template: &str,
        own: Option<&[String]>,
        unknown: UnknownTenant,
    ) -> Self {
        let template = template.to_ascii_lowercase();
        let template = template.split_once("{tenant}");
        Self {
            tenants: tenants
                .map(|(domain, tenant)| (lower(domain), tenant.to_owned()))
                .collect(),
            template: template.map(|(before, after)| (before.to_owned(), after.to_owned())),
            own: own.map(|own| own.iter().map(|name| lower(name)).collect()),
            unknown,
        }
    }

    /// Whose a domain is.
    pub fn whose(&self, host: &str) -> Named<'_> {
        let host = lower(host);
        if let Some(tenant) = self.tenants.get(&host) {
            return Named::Tenant(tenant);
        }
        if host.is_empty() || host.parse::<IpAddr>().is_ok() {
            return Named::Nobody;
        }
        let own = self.own.as_ref().map(|own| own.contains(&host));
        let of_a_tenant = self.template.as_ref().is_some_and(|(before, after)| {
            let middle = host.strip_prefix(before.as_str());
            let middle = middle.and_then(|rest| rest.strip_suffix(after.as_str()));
            middle.is_some_and(|tenant| !tenant.is_empty())
        });
        match (own, of_a_tenant) {
            (Some(true), _) | (None, false) => Named::Nobody,
            (Some(false), _) | (None, true) => Named::Unknown,
        }
    }

    /// Whether a call to this host, that came over a connection to this name, is to get no answer.
    pub fn drops(&self, host: &str, server_name: Option<&str>) -> bool {
        let unknown = |name: &str| self.whose(name) == Named::Unknown;
        match self.unknown {
            UnknownTenant::NotFound => false,
            UnknownTenant::Drop => unknown(host) || server_name.is_some_and(unknown),
        }
    }
}

/// As names are compared: in lower case, without the dot of the root.
fn lower(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_a_domain_is() {
        let tenants = [("sip.acme.trusst.cloud", "acme"), ("pbx.other.example", "other")];
        let named = |own: Option<&[String]>, host: &str| {
            let domains = Domains::new(
                tenants.into_iter(),
                "sip.{tenant}.trusst.cloud",
                own,
                UnknownTenant::Drop,
            );
            format!("{:?} {}", domains.whose(host), domains.drops(host, None))
        };
        for (host, expected) in [
            ("sip.acme.trusst.cloud", "Tenant(\"acme\") false"),
            ("SIP.Acme.trusst.CLOUD.", "Tenant(\"acme\") false"),
            ("pbx.other.example", "Tenant(\"other\") false"),
            // Other has a domain of its own instead.
            ("sip.other.trusst.cloud", "Unknown true"),
            ("sip.nobody.trusst.cloud", "Unknown true"),
            ("sip..trusst.cloud", "Nobody false"),
            ("gw.example", "Nobody false"),
            ("203.0.113.50", "Nobody false"),
            ("2001:db8::1", "Nobody false"),
            ("", "Nobody false"),
        ] {
            assert_eq!(named(None, host), expected, "{host}");
        }
        let own = ["gw.Example".to_owned()];
        for (host, expected) in [
            ("GW.example", "Nobody false"),
            ("203.0.113.50", "Nobody false"),
            ("gw2.example", "Unknown true"),
        ] {
            assert_eq!(named(Some(&own), host), expected, "{host}");
        }
    }
}
