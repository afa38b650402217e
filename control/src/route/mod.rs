//! Where a call goes: from an incoming INVITE and the configuration to a [`Route`], or to a refusal that says why.
//!
//! Trunk by source address or credentials (`sip::digest::server` sees to that); number by Request-URI or To, as [`number`] reads
//! it for the trunk; tenant by the domain that is called, by the name that was asked for over TLS, and by the number
//! ([`tenant`]), which must not contradict each other; then the target of the number.

pub mod health;
pub mod identity;
pub mod number;
pub mod registration;
mod tenant;

use crate::call::targets::Way;
use crate::call::{Outbound, Plan};
use crate::config::model::{Callee, Config, Did, Gateway, Target, Trunk};
use crate::sip::digest::{Auth, Entrance, Logins};
use crate::sip::{Address, Incoming, MAX_FORWARDS, Policies, Transport};
use identity::{Caller, Identity};
use number::Source;

/// A call that may proceed.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The trunk it came in on.
    pub trunk: String,
    /// The number it was for, as configured: E.164 with '+'.
    pub number: String,
    /// The caller's number, in E.164 with '+' where it is one.
    pub caller: String,
    /// Whose number that is.
    pub tenant: Option<String>,
    /// Where it goes.
    pub plan: Plan,
    /// Name of the agent, trunk or application it goes to.
    pub target: String,
}

impl Route {
    /// The trunks that it takes, each once: the one it came in on, and the one it goes out on.
    pub fn trunks(&self) -> impl Iterator<Item = &String> {
        let out = match self.plan {
            Plan::Agent { .. } | Plan::Application { .. } => None,
            Plan::Trunk(_) => Some(&self.target).filter(|target| **target != self.trunk),
        };
        std::iter::once(&self.trunk).chain(out)
    }
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
    let named = call.trunk.as_deref();
    let trunk = named
        .and_then(|name| config.trunks.iter().find(|trunk| trunk.name == name))
        .ok_or_else(|| Refusal::new(403, format!("no trunk allows calls from {}", call.remote.ip())))?;
    let claimed = tenant::claimed(&config.domains(), call, &trunk.numbers)?;
    let number = trunk.numbers.e164(&number_called(call, trunk.numbers.source).user);
    let did = config
        .did(&number)
        .ok_or_else(|| Refusal::new(404, format!("{number} is not a number of this gateway")))?;
    tenant::owner_agrees(did, claimed.as_ref())?;
    let caller = identity::caller(trunk, call);
    let (plan, target) = plan(config, did, &number, &caller, call)?;
    Ok(Route {
        trunk: trunk.name.clone(),
        number,
        tenant: did.tenant.clone(),
        caller: caller.number,
        plan,
        target,
    })
}

/// Who may call, one entrance a trunk that takes calls.
pub fn entrances(config: &Config) -> Vec<Entrance> {
    let entrance = |trunk: &Trunk| Entrance {
        trunk: trunk.name.clone(),
        networks: trunk.allow.clone(),
        auth: trunk.auth,
        login: trunk.login.clone(),
    };
    config
        .trunks
        .iter()
        .filter(|trunk| takes_calls(trunk))
        .map(entrance)
        .collect()
}

/// Whether calls of a trunk are known by their address or credentials.
pub fn takes_calls(trunk: &Trunk) -> bool {
    !trunk.allow.is_empty() || trunk.auth != Auth::Ip
}

/// Who we are with each carrier that gave us a login.
pub fn logins(config: &Config) -> Logins {
    let login = |trunk: &Trunk| Some((trunk.name.clone(), trunk.login.clone()?));
    config.trunks.iter().filter_map(login).collect()
}

/// What the dialogs of each trunk may do.
pub fn policies(config: &Config) -> Policies {
    let policy = |trunk: &Trunk| (trunk.name.clone(), trunk.policy);
    config.trunks.iter().map(policy).collect()
}

/// The address whose number is called.
fn number_called(call: &Incoming, source: Source) -> &Address {
    match source {
        Source::RequestUri if !call.request_uri.user.is_empty() => &call.request_uri,
        Source::RequestUri | Source::To => &call.to,
    }
}

fn plan(config: &Config, did: &Did, number: &str, caller: &Caller, call: &Incoming) -> Result<(Plan, String), Refusal> {
    // Names were resolved when the configuration was read; a miss here would be a fault of ours, told as 500.
    let missing = |what: &str, name: &str| Refusal::new(500, format!("{what} {name} is not configured"));
    match &did.target {
        Target::Agent(name) => {
            let agent = config
                .agents
                .iter()
                .find(|a| &a.name == name)
                .ok_or_else(|| missing("agent", name))?;
            let host = agent.endpoint.host().cloned();
            Ok((
                Plan::Agent {
                    name: name.clone(),
                    host,
                },
                name.clone(),
            ))
        }
        Target::Application(source) => {
            let script = Box::new(did.rules.script((**source).clone()));
            let name = script.name();
            let plan = Plan::Application {
                name: name.clone(),
                script,
            };
            Ok((plan, name))
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
            let number = to.as_deref().unwrap_or(number);
            let shown = identity::on_trunk(trunk, caller, caller_id.as_deref())?;
            let outbound =
                outbound(trunk, number, shown, hops_left(call)?).ok_or_else(|| missing("gateway of trunk", name))?;
            Ok((Plan::Trunk(Box::new(outbound)), name.clone()))
        }
    }
}

/// The leg to a number that a call is transferred to: by this trunk, from this number where the trunk may show it.
///
/// # Errors
/// Why that cannot be.
pub fn transfer(config: &Config, name: &str, number: &str, caller_id: &str) -> Result<Outbound, String> {
    let trunk = config.trunks.iter().find(|trunk| trunk.name == name);
    let trunk = trunk.ok_or_else(|| format!("there is no trunk {name:?}"))?;
    if !is_number(number) {
        return Err(not_a_number(number));
    }
    dialled(trunk, number, caller_id)
}

/// The leg to a user of a trunk's carrier, from this number where the trunk may show it.
///
/// # Errors
/// Why that cannot be.
pub fn dialled(trunk: &Trunk, user: &str, caller_id: &str) -> Result<Outbound, String> {
    let shown = identity::on_trunk(trunk, &Caller::known(caller_id), None).map_err(|refusal| refusal.text)?;
    let name = &trunk.name;
    outbound(trunk, user, shown, MAX_FORWARDS)
        .ok_or_else(|| format!("trunk {name} has no proxy to send calls to; name another"))
}

/// The leg to who is called because an agent has failed: by this trunk's rules, from this number where it may show it.
///
/// # Errors
/// Why that cannot be.
pub fn fallback(config: &Config, name: &str, to: &Callee, caller_id: &str, hops_left: u8) -> Result<Outbound, String> {
    let trunk = config.trunks.iter().find(|trunk| trunk.name == name);
    let trunk = trunk.ok_or_else(|| format!("there is no trunk {name:?}"))?;
    if hops_left == 0 {
        return Err("the call has been passed on too often to be sent elsewhere".to_owned());
    }
    let shown = identity::on_trunk(trunk, &Caller::known(caller_id), None).map_err(|refusal| refusal.text)?;
    match to {
        Callee::Number(number) => outbound(trunk, number, shown, hops_left)
            .ok_or_else(|| format!("trunk {name} has no proxy to send calls to")),
        Callee::Uri { user, place } => {
            let callee = Address {
                display: String::new(),
                user: user.clone(),
                host: place.host.clone(),
                port: place.port,
            };
            let way = Way {
                place: place.clone(),
                gateway: None,
                request_uri: None,
            };
            Ok(leg(trunk, callee, vec![way], shown, hops_left))
        }
    }
}

/// Whom the carrier of a trunk is asked to call: this number at its own domain, or where we send no calls to it at
/// `far`, its address.
///
/// # Errors
/// Why it cannot be asked for that.
pub fn referred(trunk: &Trunk, number: &str, far: String) -> Result<Address, String> {
    if !is_number(number) {
        return Err(not_a_number(number));
    }
    let mut carrier = domain(trunk);
    if carrier.host.is_empty() {
        carrier.host = far;
    }
    Ok(Address {
        user: number.to_owned(),
        ..carrier
    })
}

/// The leg to a number that a carrier wants a call of this tenant transferred to, and its trunk: where calls to that number go,
/// else by the trunk `otherwise`, if there is one. `caller` is shown where the trunk may show it.
///
/// # Errors
/// The status that refuses it, and why.
pub fn refer(
    config: &Config,
    number: &str,
    tenant: Option<&str>,
    caller: &str,
    otherwise: Option<&str>,
) -> Result<(String, Outbound), (u16, String)> {
    let not_here = || (404, format!("{number} is not a number of this gateway"));
    let did = config.did(number);
    let did = did.filter(|did| did.tenant.is_none() || did.tenant.as_deref() == tenant);
    let (name, to, caller) = match (did.map(|did| &did.target), otherwise) {
        (Some(Target::Trunk { trunk, to, caller_id }), _) => (
            trunk.as_str(),
            to.as_deref().unwrap_or(number),
            caller_id.as_deref().unwrap_or(caller),
        ),
        (Some(Target::Agent(name)), _) => {
            let why = format!("{number} is answered by agent {name}; calls are not transferred to agents");
            return Err((603, why));
        }
        (Some(Target::Application(_)), _) => {
            let why = format!("{number} is answered by an application; calls are not transferred to one");
            return Err((603, why));
        }
        (None, Some(otherwise)) => (otherwise, number, caller),
        (None, None) => return Err(not_here()),
    };
    let outbound = transfer(config, name, to, caller).map_err(|why| (404, why))?;
    Ok((name.to_owned(), outbound))
}

fn not_a_number(number: &str) -> String {
    format!("{number:?} is not a number; write E.164 with '+'")
}

/// Digits, with or without '+': nothing that a URI could be bent with.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or(text);
    (1..=32).contains(&digits.len())
        && digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'*' | b'#'))
}

/// Where a call goes that we place on a trunk ourselves, to this number and from this.
///
/// # Errors
/// The trunk takes no calls, or may not show that number.
pub fn placed(trunk: &Trunk, to: &str, from: &str) -> Result<Plan, String> {
    let shown = identity::on_trunk(trunk, &Caller::known(from), None).map_err(|refusal| refusal.text)?;
    let outbound = outbound(trunk, to, shown, MAX_FORWARDS);
    let outbound = outbound.ok_or_else(|| format!("trunk {:?} has no proxy to send calls to", trunk.name))?;
    Ok(Plan::Trunk(Box::new(outbound)))
}

/// How many hops a call may take from here on. Numbers that lead two gateways to each other come to an end by this.
fn hops_left(call: &Incoming) -> Result<u8, Refusal> {
    let left = call.max_forwards.min(MAX_FORWARDS);
    left.checked_sub(1)
        .ok_or_else(|| Refusal::new(483, "the call has been passed on too often (Max-Forwards is 0)"))
}

/// A leg to be placed on a trunk, by its gateways in the order written. Interoperability requirement I12: Request-URI
/// `sip:+{number}@{carrier-domain}`, To and From in E.164 with '+'. `None` if calls cannot be sent to the trunk.
pub fn outbound(trunk: &Trunk, number: &str, identity: Identity, max_forwards: u8) -> Option<Outbound> {
    trunk.gateways.first()?;
    let callee = Address {
        user: number.to_owned(),
        ..domain(trunk)
    };
    Some(leg(trunk, callee, ways(trunk), identity, max_forwards))
}

/// A leg by the rules of a trunk.
fn leg(trunk: &Trunk, callee: Address, ways: Vec<Way>, identity: Identity, max_forwards: u8) -> Outbound {
    let to = Address {
        port: None,
        ..callee.clone()
    };
    Outbound {
        ways,
        patience: trunk.gateway_timeout,
        redirects: trunk.redirects,
        request_uri: callee,
        identity,
        to,
        user_phone: trunk.user_phone,
        max_forwards,
        codecs: trunk.codecs.clone(),
        media: trunk.media,
    }
}

/// The domain of a trunk's carrier, without a user part: `trunk.domain`, else the first gateway, with its port unless that is
/// the usual one.
pub fn domain(trunk: &Trunk) -> Address {
    let first = trunk.gateways.first().map(|gateway| &gateway.place);
    let default = first
        .and_then(|first| first.transport)
        .map_or(5060, Transport::default_port);
    let port = first.and_then(|first| first.port);
    Address {
        display: String::new(),
        user: String::new(),
        host: match (&trunk.domain, first) {
            (Some(domain), _) => domain.clone(),
            (None, Some(first)) => first.host.clone(),
            (None, None) => String::new(),
        },
        port: port.filter(|port| trunk.domain.is_none() && *port != default),
    }
}

/// The gateways of a trunk, in the order written.
pub fn ways(trunk: &Trunk) -> Vec<Way> {
    let way = |(index, gateway): (u8, &Gateway)| Way {
        place: gateway.place.clone(),
        gateway: Some(index),
        request_uri: None,
    };
    (0..).zip(&trunk.gateways).map(way).collect()
}
