//! Whose call it is: the domain that is called, the name that was asked for over TLS, and the number must agree.

use super::number::{Numbers, Source};
use super::{Refusal, number_called};
use crate::config::model::Did;
use crate::sip::{Domains, Incoming, Named};

/// The tenant that a call says it is for, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    tenant: String,
    by: String,
}

/// The tenant that the domains of a call and the name asked for over TLS say it is for; `None` if they say nothing.
pub(super) fn claimed(domains: &Domains, call: &Incoming, numbers: &Numbers) -> Result<Option<Claim>, Refusal> {
    let called = number_called(call, numbers.source);
    let hosts = match numbers.source {
        Source::RequestUri => [&call.request_uri.host, &called.host],
        Source::To => [&called.host, &call.request_uri.host],
    };
    let hosts = hosts.map(|host| (host.as_str(), format!("domain {host}")));
    let name = call.server_name.as_deref();
    let name = name.map(|name| (name, format!("TLS server name {name}")));
    let mut claimed: Option<Claim> = None;
    for (name, by) in hosts.into_iter().chain(name) {
        let tenant = match domains.whose(name) {
            Named::Nobody => continue,
            Named::Unknown => return Err(Refusal::new(404, format!("there is no tenant of {by}"))),
            Named::Tenant(tenant) => tenant.to_owned(),
        };
        match &claimed {
            None => claimed = Some(Claim { tenant, by }),
            Some(before) if before.tenant == tenant => {}
            Some(before) => {
                let (one, other) = (&before.tenant, &before.by);
                return Err(Refusal::new(
                    403,
                    format!("{other} is tenant {one}'s, but {by} is {tenant}'s"),
                ));
            }
        }
    }
    Ok(claimed)
}

/// A call for a tenant may only reach that tenant's numbers.
pub(super) fn owner_agrees(did: &Did, claimed: Option<&Claim>) -> Result<(), Refusal> {
    match claimed {
        Some(Claim { tenant, by }) if did.tenant.as_ref() != Some(tenant) => Err(Refusal::new(
            404,
            format!("the number is not one of tenant {tenant}, whose {by} is"),
        )),
        Some(_) | None => Ok(()),
    }
}
