//! Reads each section of the file, one function a section (`[media]` in `media`), and says what a key is when it is not written.
//!
//! What comes out is what was written, with lines; `check` makes the model of it. A section with a mistake in it still
//! comes out, with defaults in place, so that what refers to it is not reported as well.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::media_plane::{LatchMode, Pacing};

use super::account::WrittenAccount;
use super::application::{self, WrittenApplication};
use super::carrier::Gateways;
use super::dscp::{self, Dscp};
use super::fallback::{self, WrittenFallback};
use super::media::{self, WrittenMedia};
use super::model::{
    Agent, AgentEndpoint, Api, ClientCertificates, Connections, Dial, Identity, KeysInClear, Large, LegMedia, Listen,
    Node, Overload, Redirects, RtcpMux, SdpIdentity, Sip, SipTls, SrtpPolicy, Transcode, Transport, Trunk, UserPhone,
};
use super::reader::{Located, Section, quoted};
use super::route::{self, WrittenRoute};
use super::transfer::{self, WrittenTransfer};
use super::{
    account, agent_limits, agent_protocol, agent_url, carrier, dialogs, gateways, login, overload, realtime, value,
};
use crate::sip::digest::Auth;

/// What a file says.
pub(super) struct Written {
    pub(super) node: WrittenNode,
    pub(super) sip: WrittenSip,
    pub(super) media: WrittenMedia,
    pub(super) overload: Overload,
    pub(super) api: Api,
    pub(super) dial: Dial,
    pub(super) route: WrittenRoute,
    pub(super) sdp: SdpIdentity,
    pub(super) trunks: Vec<Located<WrittenTrunk>>,
    pub(super) tenants: Vec<Located<WrittenTenant>>,
    pub(super) agents: Vec<WrittenAgent>,
    pub(super) transfer: WrittenTransfer,
    pub(super) dids: Vec<Located<WrittenDid>>,
}

/// `[node]`, and its account as written.
pub(super) struct WrittenNode {
    pub(super) node: Node,
    pub(super) account: WrittenAccount,
}

pub(super) struct WrittenSip {
    pub(super) sip: Sip,
    /// Line of each of `listen`; none if it is the default.
    pub(super) listen_lines: Vec<usize>,
}

pub(super) struct WrittenTrunk {
    pub(super) trunk: Trunk,
    /// Line of `media_address`.
    pub(super) media_address_line: usize,
    /// Line of each gateway's transport.
    pub(super) gateway_lines: Vec<usize>,
}

pub(super) struct WrittenAgent {
    pub(super) agent: Located<Agent>,
    /// Trunks that it may have calls transferred to.
    pub(super) transfer_trunks: Vec<Located<String>>,
    /// Every fallback that is written, so that its names can be checked.
    pub(super) fallbacks: Vec<WrittenFallback>,
}

pub(super) struct WrittenTenant {
    pub(super) name: String,
    pub(super) domains: Vec<Located<String>>,
    pub(super) identity: Option<Identity>,
    pub(super) account: WrittenAccount,
    pub(super) defaults: NumberDefaults,
}

/// What a tenant says for those of its numbers that do not say it themselves.
pub(super) struct NumberDefaults {
    pub(super) agent: Option<Located<String>>,
    pub(super) application: WrittenApplication,
}

/// A DID as written; `None` where nothing or something wrong was written.
pub(super) struct WrittenDid {
    /// Whether it does not say where its calls go.
    pub(super) says_nothing: bool,
    pub(super) application: WrittenApplication,
    pub(super) numbers: Option<Located<(String, String)>>,
    pub(super) tenant: Option<Located<String>>,
    pub(super) agent: Option<Located<String>>,
    pub(super) trunk: Option<Located<String>>,
    pub(super) to: Option<Located<String>>,
    pub(super) caller_id: Option<Located<String>>,
}

/// Reads a whole file.
pub(super) fn read(mut root: Section<'_>) -> Written {
    let node = node(root.section("node"));
    let sip = sip(root.section("sip"));
    let media = media::read(root.section("media"), &node.node.name);
    let overload = overload::read(root.section("overload"));
    let api = api(root.section("api"));
    let dial = dial(root.section("dial"));
    let route = route::read(root.section("route"));
    let template = route.domain_template.clone();
    let written = Written {
        node,
        sip,
        media,
        overload,
        api,
        dial,
        route,
        sdp: sdp(root.section("sdp")),
        transfer: transfer::read(root.section("transfer")),
        trunks: root.sections("trunk").into_iter().map(trunk).collect(),
        tenants: root
            .sections("tenant")
            .into_iter()
            .map(|section| tenant(section, &template))
            .collect(),
        agents: root.sections("agent").into_iter().map(agent).collect(),
        dids: root.sections("did").into_iter().map(did).collect(),
    };
    root.finish();
    written
}

fn api(mut section: Section<'_>) -> Api {
    let api = Api {
        listen: section.text("listen", value::socket).map(|listen| listen.value),
        history: count(&mut section, "history", 10_000),
    };
    section.finish();
    api
}

fn node(mut section: Section<'_>) -> WrittenNode {
    let name = or(section.text("name", value::name), || "voxlane".into());
    let account = account::read(&mut section, &name);
    let node = Node {
        account: account.account.clone(),
        name,
        runtime_dir: or(section.text("runtime_dir", value::path), || {
            PathBuf::from("/run/voxlane")
        }),
        metrics: section.text("metrics", value::socket).map(|metrics| metrics.value),
    };
    section.finish();
    WrittenNode { node, account }
}

fn sip(mut section: Section<'_>) -> WrittenSip {
    let written = distinct_located(&mut section, "listen", value::listen);
    let (listen, listen_lines) = match written {
        Some(written) => written.into_iter().map(|listen| (listen.value, listen.line)).unzip(),
        None => (default_listen(), Vec::new()),
    };
    let connections = Connections {
        most: count(&mut section, "max_connections", 2048),
        most_per_source: count(&mut section, "max_connections_per_source", 256),
        idle: or(section.text("idle_timeout", value::timeout), || {
            Duration::from_secs(30 * 60)
        }),
        keepalive: or(section.text("keepalive", value::keepalive), || {
            Some(Duration::from_secs(30))
        }),
    };
    let dscp = or(section.text_or_number("dscp", dscp::parse), || Dscp::CS5);
    let tls = tls(section.section("tls"));
    let dns = dns(section.section("dns"));
    let sip = Sip {
        listen,
        user_agent: or(section.text("user_agent", value::line), || "voxlane".into()),
        invite_timeout: or(section.text("invite_timeout", value::timeout), || {
            Duration::from_secs(60)
        }),
        max_calls: section
            .integer("max_calls", 1..=1_000_000)
            .and_then(|max| usize::try_from(max.value).ok())
            .unwrap_or(10_000),
        max_calls_per_second: overload::per_second(&mut section),
        dscp,
        connections,
        tls,
        dns,
    };
    section.finish();
    WrittenSip { sip, listen_lines }
}

/// UDP and TCP on the port of SIP (interoperability requirement I1). TLS needs a certificate.
fn default_listen() -> Vec<Listen> {
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 5060));
    let listen = |transport| Listen { transport, address };
    vec![listen(Transport::Udp), listen(Transport::Tcp)]
}

fn count(section: &mut Section<'_>, key: &'static str, default: usize) -> usize {
    let written = section.integer(key, 1..=1_000_000);
    written
        .and_then(|count| usize::try_from(count.value).ok())
        .unwrap_or(default)
}

fn dns(mut section: Section<'_>) -> Vec<SocketAddr> {
    let servers = distinct_list(&mut section, "servers", value::dns_server).unwrap_or_default();
    section.finish();
    servers
}

fn tls(mut section: Section<'_>) -> SipTls {
    let identity = identity(&mut section, "certificate", "key");
    let client_certificates = section.text("client_certificates", value::client_certificates);
    let client_ca = section.text("client_ca", value::path);
    let line = client_certificates.as_ref().map_or(section.line, |wanted| wanted.line);
    let wanted = or(client_certificates, ClientCertificates::default);
    match (wanted, &client_ca) {
        (ClientCertificates::Off, Some(ca)) => section.report(
            ca.line,
            "client_ca",
            "vouches for client certificates, which are not asked for; write client_certificates = \"required\" or \"optional\"",
        ),
        (ClientCertificates::Optional | ClientCertificates::Required, None) => section.report(
            line,
            "client_ca",
            "is missing; write client_ca = \"FILE\", the certificates of those who vouch for clients",
        ),
        (ClientCertificates::Off, None) | (ClientCertificates::Optional | ClientCertificates::Required, Some(_)) => {}
    }
    section.finish();
    SipTls {
        identity,
        client_certificates: wanted,
        client_ca: client_ca.map(|ca| ca.value),
    }
}

/// A certificate and its key: both or neither.
fn identity(section: &mut Section<'_>, certificate_key: &'static str, key_key: &'static str) -> Option<Identity> {
    let certificate = section.text(certificate_key, value::path);
    let key = section.text(key_key, value::path);
    match (certificate, key) {
        (Some(certificate), Some(key)) => Some(Identity {
            certificate: certificate.value,
            key: key.value,
        }),
        (Some(certificate), None) => {
            let message = format!("has no key; write {key_key} = \"FILE\"");
            section.report(certificate.line, certificate_key, message);
            None
        }
        (None, Some(key)) => {
            let message = format!("has no certificate; write {certificate_key} = \"FILE\"");
            section.report(key.line, key_key, message);
            None
        }
        (None, None) => None,
    }
}

fn dial(mut section: Section<'_>) -> Dial {
    let dial = Dial {
        max_waiting: count(&mut section, "max_waiting", 10_000),
    };
    section.finish();
    dial
}

fn sdp(mut section: Section<'_>) -> SdpIdentity {
    let sdp = SdpIdentity {
        origin_user: or(section.text("origin_user", value::word), || "trusst".into()),
        session_name: or(section.text("session_name", value::line), || {
            "Trusst AI Voice Session".into()
        }),
    };
    section.finish();
    sdp
}

fn trunk(mut section: Section<'_>) -> Located<WrittenTrunk> {
    let line = section.line;
    let allowed = section.has("allow");
    let acts = allowed || section.has("proxy") || section.has("gateway");
    let name = or(section.required("name", "\"…\"", value::name), String::new);
    let allow = distinct_list(&mut section, "allow", value::network).unwrap_or_default();
    let (gateways, gateway_lines) = gateways::read(&mut section);
    let gateway_timeout = or(section.text("gateway_timeout", value::timeout), || {
        Duration::from_secs(4)
    });
    let redirects = or(section.text("redirects", gateways::redirects), Redirects::default);
    let user_phone = or(section.text("user_phone", gateways::user_phone), UserPhone::default);
    let large_requests = or(section.text("large_requests", value::large), Large::default);
    let tls_ca = section.text("tls_ca", value::path).map(|ca| ca.value);
    let tls_identity = identity(&mut section, "tls_certificate", "tls_key");
    let (auth, login) = login::read(&mut section, allowed);
    if !acts && auth != Auth::Digest {
        section.report(
            line,
            "allow",
            "and trunk.proxy are both missing, so no call comes or goes; write allow = [\"ADDRESS/PREFIX\"], proxy = \"HOST:PORT\" or both",
        );
    }
    let any = match gateways.is_empty() {
        true => Gateways::None,
        false => Gateways::Some,
    };
    let register = carrier::register(&mut section, login.as_ref(), any);
    let health = carrier::health(&mut section, any);
    let carrier::Callers {
        unlisted_caller_id,
        asserted_identity,
        trust_identity,
    } = carrier::callers(&mut section);
    let domain = section.text("domain", value::host).map(|domain| domain.value);
    let codecs = distinct_list(&mut section, "codecs", value::codec).unwrap_or_else(|| Codec::ALL.to_vec());
    let caller_ids = distinct_list(&mut section, "caller_ids", value::number).unwrap_or_default();
    let media_address = section.text("media_address", media::address);
    let policy = dialogs::read(&mut section);
    let transfers = transfer::of_trunk(&mut section);
    let media = LegMedia {
        latch: or(section.text("latch", media::latch), LatchMode::default),
        pacing: or(section.text("pacing", media::pacing), Pacing::default),
        rtcp_mux: or(section.text("rtcp_mux", media::rtcp_mux), RtcpMux::default),
        transcode: or(section.text("transcode", media::transcode), Transcode::default),
        srtp: or(section.text("srtp", media::srtp), SrtpPolicy::default),
        srtp_keys_in_clear: or(
            section.text("srtp_keys_in_clear", media::keys_in_clear),
            KeysInClear::default,
        ),
    };
    let limits = media::limits(&mut section);
    let numbers = route::numbers(&mut section);
    let calls = overload::calls(&mut section);
    section.finish();
    let media_address_line = media_address.as_ref().map_or(line, |address| address.line);
    let media_address: Option<IpAddr> = media_address.map(|address| address.value);
    let trunk = Trunk {
        name,
        allow,
        numbers,
        gateways,
        gateway_timeout,
        redirects,
        user_phone,
        health,
        register,
        large_requests,
        tls_ca,
        tls_identity,
        domain,
        auth,
        login,
        codecs,
        caller_ids,
        unlisted_caller_id,
        asserted_identity,
        trust_identity,
        media_address,
        policy,
        transfers,
        media,
        limits,
        calls,
    };
    Located {
        value: WrittenTrunk {
            trunk,
            media_address_line,
            gateway_lines,
        },
        line,
    }
}

fn tenant(mut section: Section<'_>, template: &str) -> Located<WrittenTenant> {
    let line = section.line;
    let name = or(section.required("name", "\"…\"", value::name), String::new);
    let domains = section.list("domains", route::domain);
    let identity = identity(&mut section, "certificate", "key");
    let account = account::read(&mut section, &name);
    if section.has("agent") && section.has("voice_url") {
        let message = "and tenant.voice_url are both written; keep the one that its numbers' calls are to go to";
        section.report(line, "agent", message);
    }
    let defaults = NumberDefaults {
        agent: section.text("agent", value::name),
        application: application::read(&mut section),
    };
    section.finish();
    let domains = domains.map_or_else(
        || {
            vec![Located {
                value: template.replace("{tenant}", &name),
                line,
            }]
        },
        |domains| domains.value,
    );
    Located {
        value: WrittenTenant {
            name,
            domains,
            identity,
            account,
            defaults,
        },
        line,
    }
}

fn agent(mut section: Section<'_>) -> WrittenAgent {
    const TIMEOUT: Duration = Duration::from_secs(4);
    let line = section.line;
    let name = or(section.required("name", "\"…\"", value::name), String::new);
    let mut endpoint = section.required("url", "\"wss://HOST/PATH\" or \"builtin:echo\"", agent_url::parse);
    let protocol = agent_protocol::read(&mut section, endpoint.as_mut().map(|endpoint| &mut endpoint.value));
    let realtime = realtime::read(&mut section, protocol);
    let connect_timeout = or(section.text("connect_timeout", value::timeout), || TIMEOUT);
    let silence_timeout = or(section.text("silence_timeout", value::timeout), || TIMEOUT);
    let limits = agent_limits::read(&mut section, silence_timeout);
    let parameters = section
        .pairs("parameters")
        .into_iter()
        .map(|(name, value)| (name, value.value))
        .collect();
    let headers = headers(&mut section);
    let auth_token = account::auth_token(&mut section);
    let (ca, identity) = agent_certificates(&mut section, endpoint.as_ref());
    let transfer_trunks = transfer::of_agent(&mut section);
    let (fallbacks, written_fallbacks) = fallback::read(&mut section);
    section.finish();
    let endpoint = or(endpoint, || AgentEndpoint::Echo);
    let agent = Agent {
        name,
        endpoint,
        protocol,
        realtime,
        connect_timeout,
        silence_timeout,
        limits,
        parameters,
        headers,
        auth_token,
        ca,
        identity,
        transfer_trunks: transfer_trunks.iter().map(|trunk| trunk.value.clone()).collect(),
        fallbacks,
    };
    let agent = Located { value: agent, line };
    WrittenAgent {
        agent,
        transfer_trunks,
        fallbacks: written_fallbacks,
    }
}

/// Who vouches for an agent, and what it is shown: both only where TLS is spoken.
fn agent_certificates(
    section: &mut Section<'_>,
    endpoint: Option<&Located<AgentEndpoint>>,
) -> (Option<PathBuf>, Option<Identity>) {
    let written = ["ca", "certificate", "key"].into_iter().find(|key| section.has(key));
    let is_tls = endpoint.is_none_or(|endpoint| endpoint.value.is_tls());
    if let (Some(key), false) = (written, is_tls) {
        section.report(section.line, key, "is for TLS; write url = \"wss://…\", or remove it");
    }
    let ca = section.text("ca", value::path).map(|ca| ca.value);
    (ca, identity(section, "certificate", "key"))
}

/// Values are kept out of messages: they are secrets, often.
fn headers(section: &mut Section<'_>) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for (name, Located { value, line }) in section.pairs("headers") {
        if !value::header_name(&name) {
            section.report(line, "headers", format!("{name:?} is not the name of an HTTP header"));
        } else if value.chars().any(char::is_control) {
            section.report(
                line,
                "headers",
                format!("the value of {name} has a line break or control character"),
            );
        } else {
            headers.push((name, value));
        }
    }
    headers
}

/// The keys that say where calls to a number go; one of them is to be written.
const TARGETS: [&str; 3] = ["agent", "trunk", "voice_url"];
/// Keys that go with one of them only, and what that is for.
const GO_WITH: [(&str, &str, &[&str]); 2] = [
    ("trunk", "a trunk", &["to", "caller_id"]),
    (
        "voice_url",
        "an application",
        &["status_callback", "status_callback_event"],
    ),
];

fn did(mut section: Section<'_>) -> Located<WrittenDid> {
    let line = section.line;
    let written: Vec<&str> = TARGETS.into_iter().filter(|key| section.has(key)).collect();
    match written.as_slice() {
        [first, second, ..] => {
            let message = format!("and did.{second} are both written; keep the one calls are to go to");
            section.report(line, first, message);
        }
        [target] => report_strays(&section, target),
        // The tenant may have an agent or an application.
        [] => report_strays(&section, "voice_url"),
    }
    let did = WrittenDid {
        says_nothing: written.is_empty(),
        application: application::read(&mut section),
        numbers: section.required("number", "\"+15550100\" or \"+15550100..+15550199\"", value::numbers),
        tenant: section.text("tenant", value::name),
        agent: section.text("agent", value::name),
        trunk: section.text("trunk", value::name),
        to: section.text("to", value::number),
        caller_id: section.text("caller_id", value::number),
    };
    section.finish();
    Located { value: did, line }
}

/// Reports keys that go with another target than this.
fn report_strays(section: &Section<'_>, target: &str) {
    for (with, what, keys) in GO_WITH.iter().filter(|(with, ..)| *with != target) {
        for key in keys.iter().filter(|key| section.has(key)) {
            let message = format!("is for calls to {what}; remove it, or write {with} instead of {target}");
            section.report(section.line, key, message);
        }
    }
}

pub(super) fn or<T>(written: Option<Located<T>>, default: impl FnOnce() -> T) -> T {
    written.map_or_else(default, |written| written.value)
}

/// A list that is not empty and in which no value stands twice. `None` if the key is absent: the default is meant.
pub(super) fn distinct_list<T: PartialEq + std::fmt::Display>(
    section: &mut Section<'_>,
    key: &'static str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Option<Vec<T>> {
    let list = distinct_located(section, key, parse)?;
    Some(list.into_iter().map(|located| located.value).collect())
}

/// The same, with the line of each value.
pub(super) fn distinct_located<T: PartialEq + std::fmt::Display>(
    section: &mut Section<'_>,
    key: &'static str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Option<Vec<Located<T>>> {
    let list = section.list(key, parse)?;
    if list.value.is_empty() {
        section.report(
            list.line,
            key,
            "is empty; write at least one, or leave the key out for the default",
        );
    }
    let mut values: Vec<Located<T>> = Vec::with_capacity(list.value.len());
    for Located { value, line } in list.value {
        if values.iter().any(|known| known.value == value) {
            section.report(
                line,
                key,
                format!("{} stands here twice; write it once", quoted(&[value])),
            );
        } else {
            values.push(Located { value, line });
        }
    }
    Some(values)
}
