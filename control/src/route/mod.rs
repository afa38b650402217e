//! Where a call goes: from an incoming INVITE and the configuration to a [`Route`], or to a refusal that says why.
//!
//! Trunk by source address, number by Request-URI, tenant by domain and by number; then the target of the number.

use std::net::IpAddr;

use crate::call::{Outbound, Plan};
use crate::config::model::{AgentEndpoint, Config, Did, HostPort, Target, Trunk};
use crate::sip::{Address, Incoming, MAX_FORWARDS};

/// A call that may proceed.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The trunk it came in on.
    pub trunk: String,
    /// The number it was for, as configured: E.164 with '+'.
    pub number: String,
    /// Whose number that is.
    pub tenant: Option<String>,
    /// Where it goes.
    pub plan: Plan,
    /// Name of the agent or trunk it goes to.
    pub target: String,
}

/// A call that may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// SIP status.
    pub status: u16,
    /// For the log and the Reason header.
    pub text: String,
}

impl Refusal {
    fn new(status: u16, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
        }
    }
}

/// Routes an incoming call.
pub fn route(config: &Config, call: &Incoming) -> Result<Route, Refusal> {
    let trunk = trunk_of(config, call.remote.ip())
        .ok_or_else(|| Refusal::new(403, format!("no trunk allows calls from {}", call.remote.ip())))?;
    let number = e164(&call.request_uri.user);
    let did = config
        .did(&number)
        .ok_or_else(|| Refusal::new(404, format!("{number} is not a number of this gateway")))?;
    owner_agrees(config, did, &call.request_uri.host)?;
    let (plan, target) = plan(config, did, &number, call)?;
    Ok(Route {
        trunk: trunk.name.clone(),
        number,
        tenant: did.tenant.clone(),
        plan,
        target,
    })
}

/// The trunk whose allowed networks hold this address; the narrowest network wins, then the first trunk.
pub fn trunk_of(config: &Config, source: IpAddr) -> Option<&Trunk> {
    let source = source.to_canonical();
    let networks = config
        .trunks
        .iter()
        .flat_map(|trunk| trunk.allow.iter().map(move |net| (net, trunk)));
    networks
        .filter(|(net, _)| net.contains(&source))
        .min_by_key(|(net, _)| net.max_prefix_len() - net.prefix_len())
        .map(|(_, trunk)| trunk)
}

/// A dialled number as E.164 with '+': URI parameters of the user part, visual separators (RFC 3966 section 5.1.1) and a
/// missing '+' are mended.
pub fn e164(user: &str) -> String {
    let number = user.split(';').next().unwrap_or_default();
    let number: String = number.chars().filter(|c| !matches!(c, '-' | '.' | '(' | ')')).collect();
    match number.as_bytes() {
        [b'1'..=b'9', rest @ ..] if rest.len() >= 6 && rest.iter().all(u8::is_ascii_digit) => format!("+{number}"),
        _ => number,
    }
}

/// A call addressed to a tenant's domain may only reach that tenant's numbers.
fn owner_agrees(config: &Config, did: &Did, host: &str) -> Result<(), Refusal> {
    let named = config
        .tenants
        .iter()
        .find(|tenant| tenant.domains.iter().any(|d| d.eq_ignore_ascii_case(host)));
    match named {
        Some(tenant) if did.tenant.as_ref() != Some(&tenant.name) => {
            Err(Refusal::new(404, format!("the number is not one of {host}")))
        }
        _ => Ok(()),
    }
}

fn plan(config: &Config, did: &Did, number: &str, call: &Incoming) -> Result<(Plan, String), Refusal> {
    // Names were resolved when the configuration was read; a miss here would be a fault of ours, told as 500.
    let missing = |what: &str, name: &str| Refusal::new(500, format!("{what} {name} is not configured"));
    match &did.target {
        Target::Agent(name) => {
            let agent = config
                .agents
                .iter()
                .find(|a| &a.name == name)
                .ok_or_else(|| missing("agent", name))?;
            let host = match &agent.endpoint {
                AgentEndpoint::Echo | AgentEndpoint::Tone { .. } => None,
                AgentEndpoint::Twilio { host, .. } => Some(host.clone()),
            };
            Ok((
                Plan::Agent {
                    name: name.clone(),
                    host,
                },
                name.clone(),
            ))
        }
        Target::Trunk {
            trunk: name,
            to,
            caller_id,
        } => {
            let trunk = config
                .trunks
                .iter()
                .find(|t| &t.name == name)
                .ok_or_else(|| missing("trunk", name))?;
            let proxy = trunk.proxy.clone().ok_or_else(|| missing("proxy of trunk", name))?;
            let number = to.as_deref().unwrap_or(number);
            let caller = caller_id
                .clone()
                .unwrap_or_else(|| caller_id_for(trunk, &e164(&call.from.user)));
            let from = Address {
                display: call.from.display.clone(),
                user: caller,
                host: String::new(),
                port: None,
            };
            Ok((outbound(trunk, proxy, number, from, hops_left(call)?), name.clone()))
        }
    }
}

/// The caller's own number where the trunk may show it, else the first one the trunk may.
fn caller_id_for(trunk: &Trunk, own: &str) -> String {
    match trunk.caller_ids.first() {
        Some(first) if !trunk.caller_ids.iter().any(|id| id == own) => first.clone(),
        _ => own.to_owned(),
    }
}

/// How many hops a call may take from here on. Numbers that lead two gateways to each other come to an end by this.
fn hops_left(call: &Incoming) -> Result<u8, Refusal> {
    let left = call.max_forwards.min(MAX_FORWARDS);
    left.checked_sub(1)
        .ok_or_else(|| Refusal::new(483, "the call has been passed on too often (Max-Forwards is 0)"))
}

/// Interoperability requirement I12: Request-URI `sip:+{number}@{carrier-domain}`, To and From in E.164 with '+'.
fn outbound(trunk: &Trunk, proxy: HostPort, number: &str, from: Address, max_forwards: u8) -> Plan {
    let host = trunk.domain.clone().unwrap_or_else(|| proxy.host.clone());
    let port = (trunk.domain.is_none() && proxy.port != 5060).then_some(proxy.port);
    let callee = Address {
        display: String::new(),
        user: number.to_owned(),
        host,
        port,
    };
    let to = Address {
        port: None,
        ..callee.clone()
    };
    Plan::Trunk(Box::new(Outbound {
        proxy,
        request_uri: callee,
        from,
        to,
        max_forwards,
        codecs: trunk.codecs.clone(),
        media: trunk.media,
    }))
}
