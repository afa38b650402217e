//! Holds the sections against each other: names, references, DIDs that overlap, ports that are taken twice.

use std::collections::HashMap;

use voxlane_dataplane::media_plane::Unallocated;

use super::application::WrittenApplication;
use super::media::WrittenMedia;
use super::model::{Account, Agent, Config, Did, Listen, Media, Routing, Sip, Target, Tenant, Transport, Trunk, Xdp};
use super::reader::{Located, Reader, quoted};
use super::route::WrittenRoute;
use super::sections::{NumberDefaults, Written, WrittenAgent, WrittenDid, WrittenSip, WrittenTenant, WrittenTrunk};
use super::suggest::nearest;
use super::{fallback, gateways, login, transfer};
use crate::web::AllowedHosts;

/// Makes the model of what was written. If a mistake was reported, then or before, the model is not to be used.
pub(super) fn config(reader: &Reader<'_>, written: Written) -> Config {
    let Written {
        node,
        sip,
        media,
        overload,
        api,
        dial,
        route,
        sdp,
        trunks,
        tenants,
        agents,
        transfer,
        dids,
    } = written;
    let sip = self::sip(reader, sip, &media);
    let media = media.media;
    let trunks = self::trunks(reader, trunks, &media, &sip);
    let transfer = transfer::check(reader, transfer, &agents, &trunks);
    let agents = self::agents(reader, agents, &trunks);
    node.account.check(reader, "node", &trunks, &agents);
    for tenant in &tenants {
        tenant.value.account.check(reader, "tenant", &trunks, &agents);
    }
    let (tenants, defaults) = self::tenants(reader, tenants);
    let route = self::route(reader, route, &tenants);
    let names = Names {
        trunks: &trunks,
        tenants: &tenants,
        agents: &agents,
        defaults: &defaults,
        account: &node.node.account,
    };
    for NumberDefaults { agent, application } in defaults.values() {
        application.check(reader, "tenant", &trunks);
        if let Some(agent) = agent {
            let agents = agents.iter().map(|agent| agent.name.as_str());
            resolve(reader, "tenant", "agent", agent, agents);
        }
    }
    let dids = self::dids(reader, dids, &names);
    Config {
        node: node.node,
        sip,
        media,
        overload,
        api,
        dial,
        route,
        sdp,
        transfer,
        trunks,
        tenants,
        agents,
        dids,
    }
}

/// Reports addresses for SIP that the XDP program would cut off.
fn sip(reader: &Reader<'_>, written: WrittenSip, media: &WrittenMedia) -> Sip {
    let WrittenSip { sip, listen_lines } = written;
    let Media {
        first_port, last_port, ..
    } = media.media;
    for (index, listen) in sip.listen.iter().enumerate() {
        if listen.transport == Transport::Tls && sip.tls.identity.is_none() {
            let line = listen_lines.get(index).copied().unwrap_or(1);
            let message =
                format!("{listen} needs a certificate; write [sip.tls] certificate = \"FILE\" and key = \"FILE\"");
            reader.report(line, "sip.listen", message);
        }
        if !cut_off(*listen, &media.media) {
            continue;
        }
        let address = listen.address;
        let mend = "choose another port, other media.ports, or write [media] unallocated = \"pass\"";
        match (listen_lines.get(index), media.ports_line) {
            (Some(&line), _) => {
                let message = format!(
                    "udp:{address} lies within media.ports {first_port}-{last_port}, where what is not media is dropped; \
                     {mend}"
                );
                reader.report(line, "sip.listen", message);
            }
            (None, line) => {
                let message = format!(
                    "{first_port}-{last_port} holds the port of sip.listen, udp:{address}, and what is not media is \
                     dropped there; {mend}"
                );
                reader.report(line.unwrap_or(1), "media.ports", message);
            }
        }
    }
    sip
}

/// Whether the XDP program drops what comes to an address that is not for media: on media addresses, in the port range.
fn cut_off(Listen { transport, address }: Listen, media: &Media) -> bool {
    let drops = media.xdp != Xdp::Off && media.unallocated == Unallocated::Drop;
    let in_range = (media.first_port..=media.last_port).contains(&address.port());
    let ip = address.ip();
    let for_media = match media.addresses.as_slice() {
        [] => !ip.is_loopback() || media.interfaces.iter().any(|interface| interface == "lo"),
        addresses if ip.is_unspecified() => addresses.iter().any(|media| media.is_ipv4() == ip.is_ipv4()),
        addresses => addresses.contains(&ip),
    };
    transport == Transport::Udp && drops && in_range && for_media
}

/// What a DID may refer to.
struct Names<'a> {
    trunks: &'a [Trunk],
    tenants: &'a [Tenant],
    agents: &'a [Agent],
    /// What tenants say for their numbers.
    defaults: &'a HashMap<String, NumberDefaults>,
    /// The account of numbers that are no tenant's.
    account: &'a Account,
}

impl Names<'_> {
    /// Hosts that documents for numbers of this tenant may be at.
    fn hosts_of(&self, tenant: Option<&str>) -> &AllowedHosts {
        let tenant = self.tenants.iter().find(|known| Some(known.name.as_str()) == tenant);
        &tenant.map_or(self.account, |tenant| &tenant.account).allowed_hosts
    }
}

fn trunks(reader: &Reader<'_>, written: Vec<Located<WrittenTrunk>>, media: &Media, sip: &Sip) -> Vec<Trunk> {
    let mut taken = Taken::new("trunk.name", "trunk");
    let mut trunks = Vec::with_capacity(written.len());
    for Located {
        value: WrittenTrunk {
            trunk,
            media_address_line,
            gateway_lines,
        },
        line,
    } in written
    {
        taken.check(reader, &trunk.name, line);
        gateways::check(reader, &trunk, &gateway_lines, sip);
        login::check_told_apart(reader, &trunk, line, &trunks);
        if let Some(address) = trunk.media_address.filter(|address| !media.addresses.contains(address)) {
            let message = match media.addresses.as_slice() {
                [] => format!("{address} is not in media.addresses; write [media] addresses = [\"{address}\"]"),
                addresses => format!(
                    "{address} is not in media.addresses; add it there, or write {}",
                    quoted(addresses)
                ),
            };
            reader.report(media_address_line, "trunk.media_address", message);
        }
        trunks.push(trunk);
    }
    trunks
}

/// The tenants, and what they say for their numbers, by their names.
fn tenants(
    reader: &Reader<'_>,
    written: Vec<Located<WrittenTenant>>,
) -> (Vec<Tenant>, HashMap<String, NumberDefaults>) {
    let mut taken = Taken::new("tenant.name", "tenant");
    let mut domains_taken = Taken::new("tenant.domains", "domain");
    let mut accounts_taken = Taken::new("tenant.account_sid", "account");
    let mut tenants = Vec::with_capacity(written.len());
    let mut defaults_of = HashMap::new();
    for Located { value, line } in written {
        let WrittenTenant {
            name,
            domains,
            identity,
            account,
            defaults,
        } = value;
        // The default domain of a name that is taken would only say the same again.
        if taken.check(reader, &name, line) {
            for domain in &domains {
                domains_taken.check(reader, &domain.value.to_ascii_lowercase(), domain.line);
            }
            accounts_taken.check(reader, &account.account.sid, account.line);
        }
        defaults_of.insert(name.clone(), defaults);
        tenants.push(Tenant {
            name,
            domains: domains.into_iter().map(|domain| domain.value).collect(),
            identity,
            account: account.account,
        });
    }
    (tenants, defaults_of)
}

/// Reports names of the gateway that are tenants' domains.
fn route(reader: &Reader<'_>, written: WrittenRoute, tenants: &[Tenant]) -> Routing {
    for Located { value: name, line } in written.domains.iter().flatten() {
        let owns = |tenant: &&Tenant| tenant.domains.iter().any(|domain| domain.eq_ignore_ascii_case(name));
        if let Some(tenant) = tenants.iter().find(owns) {
            let message = format!("{name:?} is a domain of tenant {:?}; keep it in one place", tenant.name);
            reader.report(*line, "route.domains", message);
        }
    }
    Routing {
        domain_template: written.domain_template,
        unknown_tenant: written.unknown_tenant,
        domains: written
            .domains
            .map(|domains| domains.into_iter().map(|domain| domain.value).collect()),
    }
}

fn agents(reader: &Reader<'_>, written: Vec<WrittenAgent>, trunks: &[Trunk]) -> Vec<Agent> {
    let mut taken = Taken::new("agent.name", "agent");
    let names: Vec<&str> = written.iter().map(|one| one.agent.value.name.as_str()).collect();
    for WrittenAgent { agent, fallbacks, .. } in &written {
        taken.check(reader, &agent.value.name, agent.line);
        fallback::check(reader, &agent.value.name, fallbacks, &names, trunks);
    }
    written.into_iter().map(|one| one.agent.value).collect()
}

/// Names that must differ, and the lines they stand on.
struct Taken {
    key: &'static str,
    what: &'static str,
    lines: HashMap<String, usize>,
}

impl Taken {
    fn new(key: &'static str, what: &'static str) -> Self {
        Self {
            key,
            what,
            lines: HashMap::new(),
        }
    }

    /// Whether the name is free; reports it if not. A missing name (empty) has been reported already.
    fn check(&mut self, reader: &Reader<'_>, name: &str, line: usize) -> bool {
        if name.is_empty() {
            return true;
        }
        match self.lines.get(name) {
            Some(first) => {
                let Self { what, .. } = self;
                let message = format!("there is a {what} {name:?} on line {first} already; choose another name");
                reader.report(line, self.key, message);
                false
            }
            None => {
                self.lines.insert(name.to_owned(), line);
                true
            }
        }
    }
}

/// The DIDs in the order that [`Config::did`] searches: by length, then by first number.
fn dids(reader: &Reader<'_>, written: Vec<Located<WrittenDid>>, names: &Names<'_>) -> Vec<Did> {
    let mut dids: Vec<Located<Did>> = written
        .into_iter()
        .filter_map(|Located { value, line }| {
            let tenant = value.tenant.as_ref().map(|tenant| tenant.value.as_str());
            let defaults = tenant.and_then(|tenant| names.defaults.get(tenant));
            let application = value.application.over(defaults.map(|defaults| &defaults.application));
            let agent = defaults.and_then(|defaults| defaults.agent.as_ref());
            value.application.check(reader, "did", names.trunks);
            application.check_hosts(reader, line, names.hosts_of(tenant));
            let target = match agent.filter(|_| value.says_nothing) {
                Some(agent) => Some(Target::Agent(agent.value.clone())),
                None => target(reader, &value, &application, line, names),
            };
            let tenants = names.tenants.iter().map(|tenant| tenant.name.as_str());
            if let Some(tenant) = &value.tenant {
                resolve(reader, "did", "tenant", tenant, tenants);
            }
            let Located {
                value: (first, last),
                line,
            } = value.numbers?;
            let tenant = value.tenant.map(|tenant| tenant.value);
            Some(Located {
                value: Did {
                    first,
                    last,
                    tenant,
                    target: target?,
                    rules: application.rules(),
                },
                line,
            })
        })
        .collect();
    dids.sort_by(|a, b| order(&a.value).cmp(&order(&b.value)));
    report_overlaps(reader, &dids);
    dids.into_iter().map(|did| did.value).collect()
}

fn order(did: &Did) -> (usize, &str) {
    (did.first.len(), &did.first)
}

/// Reports each DID that begins before the farthest-reaching one before it ends.
fn report_overlaps(reader: &Reader<'_>, sorted: &[Located<Did>]) {
    let mut farthest: Option<&Located<Did>> = None;
    for did in sorted {
        if let Some(before) = farthest
            && (before.value.last.len(), &before.value.last) >= (did.value.first.len(), &did.value.first)
        {
            // The later line is the one to mend.
            let (earlier, later) = if before.line < did.line {
                (before, did)
            } else {
                (did, before)
            };
            let message = format!(
                "{} overlaps {} on line {}; a number has one destination",
                numbers(&later.value),
                numbers(&earlier.value),
                earlier.line
            );
            reader.report(later.line, "did.number", message);
        }
        let reach = |did: &Located<Did>| (did.value.last.len(), did.value.last.clone());
        if farthest.is_none_or(|before| reach(before) < reach(did)) {
            farthest = Some(did);
        }
    }
}

fn numbers(did: &Did) -> String {
    if did.first == did.last {
        format!("{:?}", did.first)
    } else {
        format!("\"{}..{}\"", did.first, did.last)
    }
}

/// Where calls to a DID go; `None` if that was not said properly.
fn target(
    reader: &Reader<'_>,
    did: &WrittenDid,
    application: &WrittenApplication,
    line: usize,
    names: &Names<'_>,
) -> Option<Target> {
    if let Some(agent) = &did.agent {
        resolve(
            reader,
            "did",
            "agent",
            agent,
            names.agents.iter().map(|agent| agent.name.as_str()),
        )?;
        return Some(Target::Agent(agent.value.clone()));
    }
    let Some(name) = &did.trunk else {
        let source = application.source();
        if source.is_none() && did.says_nothing {
            let or_tenant = match &did.tenant {
                Some(tenant) => format!("; or agent or voice_url of tenant {:?}", tenant.value),
                None => String::new(),
            };
            let message =
                format!("is missing; write agent = \"NAME\", trunk = \"NAME\" or voice_url = \"https://…\"{or_tenant}");
            reader.report(line, "did.agent", message);
        }
        return source.map(|source| Target::Application(Box::new(source)));
    };
    resolve(
        reader,
        "did",
        "trunk",
        name,
        names.trunks.iter().map(|trunk| trunk.name.as_str()),
    )?;
    let trunk = names.trunks.iter().find(|trunk| trunk.name == name.value)?;
    if trunk.gateways.is_empty() {
        let message = format!(
            "trunk {:?} has no proxy to send calls to; write proxy = \"HOST:PORT\" there",
            trunk.name
        );
        reader.report(name.line, "did.trunk", message);
    }
    if let Some(caller_id) = &did.caller_id
        && !trunk.caller_ids.is_empty()
        && !trunk.caller_ids.contains(&caller_id.value)
    {
        let message = format!(
            "{:?} is not among the caller_ids of trunk {:?}; add it there, or write {}",
            caller_id.value,
            trunk.name,
            quoted(&trunk.caller_ids)
        );
        reader.report(caller_id.line, "did.caller_id", message);
    }
    Some(Target::Trunk {
        trunk: name.value.clone(),
        to: did.to.as_ref().map(|to| to.value.clone()),
        caller_id: did.caller_id.as_ref().map(|caller_id| caller_id.value.clone()),
    })
}

/// `Some` if there is something of that name, which `section` gives; reports it if not.
fn resolve<'a>(
    reader: &Reader<'_>,
    section: &str,
    what: &str,
    name: &Located<String>,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Option<()> {
    if known.clone().any(|known| known == name.value) {
        return Some(());
    }
    let known: Vec<&str> = known.filter(|known| !known.is_empty()).collect();
    let advice = match nearest(&name.value, known.iter().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None if known.is_empty() => format!("write a [[{what}]] of that name"),
        None => format!("there is {}", quoted(&known)),
    };
    reader.report(
        name.line,
        format!("{section}.{what}"),
        format!("there is no {what} {:?}; {advice}", name.value),
    );
    None
}
