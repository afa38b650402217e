//! What a good configuration comes to.

use std::path::Path;
use std::time::Duration;

use voxlane::call::transfer::{Progress, Unreported, Way};
use voxlane::config::Config;
use voxlane::config::model::{
    AgentEndpoint, Asserted, CallLimits, HealthRules, HostPort, KeysInClear, LegMedia, QualityLimits, Redirects,
    Register, RtcpMux, SrtpPolicy, Target, Transcode, Transport, TrunkTransfers, TrustIdentity, UnknownTenant,
    UnlistedCallerId, UserPhone, Xdp,
};
use voxlane::guard::overload::Limits;
use voxlane::route::number::{Numbers, Plan, Rule, Source};
use voxlane::sip::digest::{Algorithm, Auth, Login, Proof, Secret};
use voxlane::sip::{Extension, Policy, Refers, Refresher, SessionTimers};
use voxlane_dataplane::agent::sound::Format;
use voxlane_dataplane::agent::{ControlMessages, Encoding};
use voxlane_dataplane::codec::resample::Rate;
use voxlane_dataplane::media_plane::{LatchMode, Pacing, Unallocated, WebProtocol};
use voxlane_dataplane::plane::{IoChoice, Policing};

fn config(text: &str) -> Config {
    let environment = |name: &str| (name == "TOKEN").then(|| "s3cret".to_owned());
    Config::parse(text, "voxlane.toml", &environment).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn the_embedded_defaults_are_sound_and_the_defaults_of_the_code() {
    let embedded = config(voxlane::config::DEFAULT);
    let empty = config("");
    assert_eq!((&empty.node, &empty.sip), (&embedded.node, &embedded.sip));
    assert_eq!((&empty.media, &empty.sdp), (&embedded.media, &embedded.sdp));
    assert_eq!(
        (&empty.route, &embedded.trunks[0].numbers),
        (&embedded.route, &Numbers::default())
    );
    assert_eq!((&empty.overload, &empty.dial), (&embedded.overload, &embedded.dial));
    let media = &embedded.media;
    assert_eq!((media.unallocated, media.police), (Unallocated::Drop, Policing::On));
    assert_eq!(media.dscp.tos(), 46 << 2);
    assert_eq!(media.timeout, Some(Duration::from_secs(60)));
    assert_eq!(media.limits, QualityLimits::default());
    assert_eq!(media.pin.as_deref(), Some(Path::new("/sys/fs/bpf/voxlane/voxlane")));
    assert_eq!(
        embedded.trunks[0].media,
        LegMedia {
            latch: LatchMode::Nat,
            pacing: Pacing::Off,
            rtcp_mux: RtcpMux::Accept,
            transcode: Transcode::Auto,
            srtp: SrtpPolicy::Off,
            srtp_keys_in_clear: KeysInClear::Refuse,
        }
    );
    let timers = SessionTimers {
        extension: Extension::Supported,
        expires: 1800,
        least: 90,
        refresher: None,
    };
    let reliable = Extension::Supported;
    assert_eq!(
        embedded.trunks[0].policy,
        Policy {
            timers,
            reliable,
            replaces: Extension::Off,
            refers: Refers::Refuse
        }
    );
    assert_eq!(embedded.tenants[0].domains, ["sip.demo.trusst.cloud"]);
    assert_eq!(embedded.trunks[0].gateways[0].place.to_string(), "127.0.0.1:5070");
    let names: Vec<&str> = embedded.agents.iter().map(|agent| agent.name.as_str()).collect();
    assert_eq!(names, ["echo", "tone", "bot"]);
}

#[test]
fn every_key() {
    let config = config(
        r#"
        [node]
        name = "pop1"
        runtime_dir = "/tmp/v"
        metrics = "[::1]:9060"
        [sip]
        listen = ["udp:192.0.2.1:5060", "udp:[2001:db8::1]:5062"]
        user_agent = "x y"
        invite_timeout = "1.5s"
        max_calls = 5
        max_calls_per_second = 9
        [media]
        addresses = ["192.0.2.1", "2001:db8::1"]
        ports = "30000-30999"
        ptime = 30
        workers = "auto"
        io = "sockets"
        xdp = "off"
        interfaces = ["eth0"]
        unallocated = "pass"
        dscp = "CS5"
        police = "off"
        pin = "/sys/fs/bpf/v"
        jitter_min = "20ms"
        jitter_max = "0.3s"
        first_words = "1m"
        media_timeout = "off"
        latency_limit = "100ms"
        jitter_limit = "off"
        loss_limit = "2.5%"
        quality_period = "1m"
        [overload]
        cpu = "off"
        host_cpu = "80 %"
        delay = "1s"
        retry_after = "10s"
        [dial]
        max_waiting = 3
        [route]
        domain_template = "{tenant}.voice.example"
        unknown_tenant = "drop"
        domains = ["gw.example"]
        [sdp]
        origin_user = "o"
        session_name = "s n"
        [[trunk]]
        name = "t"
        allow = ["198.51.100.7", "2001:db8::/32"]
        proxy = "sip.carrier.example"
        domain = "carrier.example"
        auth = "any"
        username = "ann"
        password = "${TOKEN}"
        realm = "carrier"
        algorithms = ["md5", "SHA-256"]
        codecs = ["pcma"]
        caller_ids = ["+15550100", "+15550101"]
        media_address = "2001:db8::1"
        session_timers = "required"
        session_expires = "1h"
        min_se = "2m"
        reliable_provisional = "off"
        refers = "any"
        replaces = "supported"
        transfer_by = "refer"
        refer_progress = "none"
        refer_unreported = "wait"
        session_refresher = "them"
        latch = "strict"
        pacing = "auto"
        rtcp_mux = "offer"
        latency_limit = "off"
        loss_limit = "5 %"
        transcode = "off"
        srtp = "required"
        srtp_keys_in_clear = "allow"
        numbers = "+49"
        max_calls = 4
        max_calls_per_second = 7
        number_from = "to"
        number_rule = [{ prefix = "9", length = 5, prepend = "+1555" }, { length = 4, strip = 1 }]
        [[tenant]]
        name = "m"
        [[tenant]]
        name = "n"
        domains = ["sip:a.example"]
        [[agent]]
        name = "a"
        url = "wss://bot.example/media"
        connect_timeout = "500ms"
        silence_timeout = "2m"
        parameters = { zulu = "1", alpha = "$${x}" }
        headers = { Authorization = "Bearer ${TOKEN}" }
        [[did]]
        number = "+15550002"
        trunk = "t"
        to = "+15550999"
        caller_id = "+15550101"
        "#,
    );
    let limits = Limits {
        cpu: None,
        host_cpu: Some(0.8),
        delay: Some(Duration::from_secs(1)),
    };
    assert_eq!(
        (config.overload.limits, config.overload.retry_after),
        (limits, Duration::from_secs(10))
    );
    assert_eq!((config.sip.max_calls_per_second, config.dial.max_waiting), (Some(9), 3));
    let calls = CallLimits {
        most: Some(4),
        per_second: Some(7),
    };
    assert_eq!(config.trunks[0].calls, calls);
    assert_eq!(config.route.domain_template, "{tenant}.voice.example");
    assert_eq!(config.route.unknown_tenant, UnknownTenant::Drop);
    assert_eq!(config.route.domains.as_deref(), Some(&["gw.example".to_owned()][..]));
    let domains: Vec<_> = config.tenants.iter().flat_map(|tenant| &tenant.domains).collect();
    assert_eq!(domains, ["m.voice.example", "a.example"]);
    let rule = |prefix: &str, length, strip, prepend: &str| Rule {
        prefix: prefix.to_owned(),
        length: Some(length),
        strip,
        prepend: prepend.to_owned(),
    };
    let numbers = Numbers {
        rules: vec![rule("9", 5, 1, "+1555"), rule("", 4, 1, "+")],
        plan: Plan::Country("49".to_owned()),
        source: Source::To,
    };
    assert_eq!(config.trunks[0].numbers, numbers);
    assert_eq!(config.sip.listen[1].to_string(), "udp:[2001:db8::1]:5062");
    assert_eq!(config.sip.invite_timeout, Duration::from_millis(1500));
    assert_eq!(
        (config.media.first_port, config.media.last_port, config.media.ptime),
        (30000, 30999, 30)
    );
    assert_eq!((&config.media.workers, config.media.xdp), (&None, Xdp::Off));
    assert_eq!(config.media.io, IoChoice::Sockets);
    let media = &config.media;
    assert_eq!((media.unallocated, media.police), (Unallocated::Pass, Policing::Off));
    assert_eq!(media.dscp.tos(), 40 << 2);
    assert_eq!(media.pin.as_deref(), Some(Path::new("/sys/fs/bpf/v")));
    assert_eq!(
        (media.jitter.min, media.jitter.max),
        (Duration::from_millis(20), Duration::from_millis(300))
    );
    assert_eq!((media.timeout, media.quality_period), (None, Duration::from_secs(60)));
    assert_eq!(media.first_words, Duration::from_secs(60));
    let limits = QualityLimits {
        latency: Some(Duration::from_millis(100)),
        jitter: None,
        loss: Some(0.025),
    };
    assert_eq!(media.limits, limits);
    let trunk = &config.trunks[0];
    let of_trunk = QualityLimits {
        latency: None,
        jitter: None,
        loss: Some(0.05),
    };
    assert_eq!(trunk.limits.over(media.limits), of_trunk);
    assert_eq!(trunk.auth, Auth::Any);
    let login = Login {
        username: "ann".into(),
        realm: Some("carrier".into()),
        proof: Proof::Password(Secret::new("s3cret".into()), vec![Algorithm::Sha256, Algorithm::Md5]),
    };
    assert_eq!(trunk.login, Some(login));
    assert!(!format!("{config:?}").contains("Password(\"s3cret"));
    let timers = SessionTimers {
        extension: Extension::Required,
        expires: 3600,
        least: 120,
        refresher: Some(Refresher::Them),
    };
    assert_eq!(
        trunk.policy,
        Policy {
            timers,
            reliable: Extension::Off,
            replaces: Extension::Supported,
            refers: Refers::Any,
        }
    );
    let transfers = TrunkTransfers {
        by: Some(Way::Refer),
        progress: Progress::None,
        unreported: Unreported::Wait,
    };
    assert_eq!(trunk.transfers, transfers);
    assert_eq!(trunk.media_address, "2001:db8::1".parse().ok());
    assert_eq!(
        trunk.media,
        LegMedia {
            latch: LatchMode::Strict,
            pacing: Pacing::Auto,
            rtcp_mux: RtcpMux::Offer,
            transcode: Transcode::Off,
            srtp: SrtpPolicy::Required,
            srtp_keys_in_clear: KeysInClear::Allow,
        }
    );
    assert_eq!(trunk.allow[0], "198.51.100.7/32".parse().unwrap());
    let place = &trunk.gateways[0].place;
    assert_eq!(
        (place.to_string().as_str(), place.transport),
        ("sip.carrier.example", None)
    );
    let agent = &config.agents[0];
    assert_eq!(
        agent.endpoint,
        AgentEndpoint::Web {
            url: "wss://bot.example/media".into(),
            host: HostPort {
                host: "bot.example".into(),
                port: 443
            }
        }
    );
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(agent.parameters, [pair("zulu", "1"), pair("alpha", "${x}")]);
    assert_eq!(agent.headers, [pair("Authorization", "Bearer s3cret")]);
    assert_eq!(
        config.dids[0].target,
        Target::Trunk {
            trunk: "t".into(),
            to: Some("+15550999".into()),
            caller_id: Some("+15550101".into())
        }
    );
}

#[test]
fn numbers_find_their_did() {
    let agents = "[[agent]]\nname = \"a\"\nurl = \"builtin:echo\"\n";
    let dids: String = [
        "+15551000..+15551999",
        "+4930123456",
        "+15550001",
        "+155510001",
        "+15552000",
    ]
    .iter()
    .map(|number| format!("[[did]]\nnumber = \"{number}\"\nagent = \"a\"\n"))
    .collect();
    let config = config(&format!("{agents}{dids}"));
    for (number, first) in [
        ("+15551000", Some("+15551000")),
        ("+15551500", Some("+15551000")),
        ("+15551999", Some("+15551000")),
        ("+15552000", Some("+15552000")),
        ("+15552001", None),
        ("+15550001", Some("+15550001")),
        ("+15550000", None),
        ("+155510001", Some("+155510001")),
        ("+155510002", None),
        ("+1555100", None),
        ("+4930123456", Some("+4930123456")),
        ("15551500", None),
        ("", None),
    ] {
        assert_eq!(config.did(number).map(|did| did.first.as_str()), first, "{number}");
    }
}

#[test]
fn a_code_point_by_number_and_a_pin_for_each_node() {
    let read = |text: &str| config(text).media;
    assert_eq!(read("[media]\ndscp = 34").dscp.tos(), 34 << 2);
    assert_eq!(read("[media]\ndscp = \"34\"").dscp.tos(), 34 << 2);
    assert_eq!(read("[media]\npin = \"off\"").pin, None);
    let pin = read("[node]\nname = \"pop1.example\"").pin;
    assert_eq!(pin.as_deref(), Some(Path::new("/sys/fs/bpf/voxlane/pop1-example")));
}

#[test]
fn who_calls_on_a_trunk_and_who_we_are_there() {
    let read = |keys: &str| {
        let trunk = config(&format!("[[trunk]]\nname = \"t\"\n{keys}")).trunks.remove(0);
        (trunk.auth, trunk.login)
    };
    assert_eq!(read("proxy = \"a.example\""), (Auth::Ip, None));
    let (auth, login) = read("auth = \"digest\"\nusername = \"u\"\npassword = \"p\"");
    let login = login.unwrap();
    assert_eq!(
        (auth, login.username.as_str(), login.algorithms()),
        (Auth::Digest, "u", Algorithm::ALL.to_vec())
    );
    let hashes = format!(
        "ha1 = {{ MD5 = \"{}\", SHA-512-256 = \"{}\" }}",
        "aB".repeat(16),
        "1".repeat(64)
    );
    let (_, login) = read(&format!(
        "allow = [\"::1\"]\nauth = \"all\"\nusername = \"u\"\nrealm = \"r\"\n{hashes}"
    ));
    let login = login.unwrap();
    assert_eq!(login.algorithms(), [Algorithm::Sha512_256, Algorithm::Md5]);
    assert_eq!(
        login.ha1(Algorithm::Md5, "r").as_deref().map(String::as_str),
        Some(&*"ab".repeat(16))
    );

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "pass word\n").unwrap();
    let keys = format!("proxy = \"a\"\nusername = \"u\"\npassword_file = {:?}", file.path());
    let Some(Proof::Password(password, _)) = read(&keys).1.map(|login| login.proof) else {
        panic!("a password was expected")
    };
    assert_eq!(password.expose(), "pass word");
}

#[test]
fn a_trunk_with_several_gateways() {
    let config = config(
        r#"
        [sip]
        listen = ["udp:0.0.0.0:5060", "tcp:0.0.0.0:5060"]

        [sip.dns]
        servers = ["192.0.2.53", "[2001:db8::53]:5353"]

        [[trunk]]
        name = "t"
        transport = "tcp"
        gateway_timeout = "2s"
        redirects = "trunk"
        user_phone = "on"
        health_interval = "30s"
        health_failures = 4
        health_successes = 1
        register = "on"
        register_user = "+15550100"
        register_expires = "5m"
        unlisted_caller_id = "refuse"
        asserted_identity = "+15550101"
        trust_identity = "on"

        [[trunk.gateway]]
        address = "a.example"

        [[trunk.gateway]]
        address = "192.0.2.1:5070"
        transport = "udp"
        priority = 10
        weight = 0
        "#,
    );
    let servers: Vec<String> = config.sip.dns.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["192.0.2.53:53", "[2001:db8::53]:5353"]);
    let trunk = &config.trunks[0];
    assert_eq!(
        (trunk.gateway_timeout, trunk.redirects, trunk.user_phone),
        (Duration::from_secs(2), Redirects::Trunk, UserPhone::On)
    );
    let rules = HealthRules {
        interval: Duration::from_secs(30),
        failures: 4,
        successes: 1,
    };
    let register = Register {
        user: "+15550100".into(),
        expires: Duration::from_secs(300),
    };
    assert_eq!((trunk.health, &trunk.register), (Some(rules), &Some(register)));
    assert_eq!(
        (trunk.unlisted_caller_id, &trunk.asserted_identity, trunk.trust_identity),
        (
            UnlistedCallerId::Refuse,
            &Asserted::Number("+15550101".into()),
            TrustIdentity::On
        )
    );
    let gateways = trunk.gateways.iter().map(|gateway| {
        let place = &gateway.place;
        (place.to_string(), place.transport, gateway.priority, gateway.weight)
    });
    let expected = [
        ("a.example".to_owned(), Some(Transport::Tcp), 0, 1),
        ("192.0.2.1:5070".to_owned(), Some(Transport::Udp), 10, 0),
    ];
    assert_eq!(gateways.collect::<Vec<_>>(), expected);
}

#[test]
fn accounts_are_their_tenants_and_hide_their_tokens() {
    let config = config(
        r#"
        [node]
        name = "pop-1"
        auth_token = "of the node"

        [[tenant]]
        name = "acme"
        account_sid = "AC0123456789abcdef0123456789ABCDEF"
        auth_token = "${TOKEN}"

        [[tenant]]
        name = "other"
        "#,
    );
    let acme = config.account(Some("acme"));
    assert_eq!(acme.sid, "AC0123456789abcdef0123456789ABCDEF");
    assert_eq!(acme.auth_token.as_ref().map(Secret::expose), Some("s3cret"));
    assert_eq!(
        config.account(None).auth_token.as_ref().map(Secret::expose),
        Some("of the node")
    );
    // Who has none of their own have one of their name, the same everywhere, and sign nothing.
    let other = config.account(Some("other"));
    assert_eq!((other.sid.len(), other.auth_token.is_none()), (34, true));
    assert_ne!(other.sid, config.account(Some("unknown")).sid);
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn protocols_of_agents() {
    let protocol = |keys: &str| {
        let text = format!("[[agent]]\nname = \"a\"\nurl = \"ws://bot.example\"\n{keys}");
        let config = Config::parse(&text, "voxlane.toml", &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
        config.agents[0].protocol
    };
    for (keys, expected) in [
        ("", WebProtocol::Twilio),
        ("protocol = \"twilio\"", WebProtocol::Twilio),
        ("protocol = \"telnyx\"", WebProtocol::Telnyx(Encoding::Pcmu)),
        (
            "protocol = \"telnyx\"\nencoding = \"PCMA\"",
            WebProtocol::Telnyx(Encoding::Pcma),
        ),
        ("protocol = \"jambonz\"", WebProtocol::Jambonz(Rate::Khz8)),
        (
            "protocol = \"pcm16\"\nsample_rate = 24000",
            WebProtocol::Pcm16(Rate::Khz24),
        ),
        (
            "protocol = \"asterisk-websocket\"",
            WebProtocol::Asterisk {
                format: Format::Ulaw,
                control: ControlMessages::PlainText,
            },
        ),
        (
            "protocol = \"asterisk-websocket\"\nformat = \"slin16\"\ncontrol_messages = \"json\"",
            WebProtocol::Asterisk {
                format: Format::Linear(Rate::Khz16),
                control: ControlMessages::Json,
            },
        ),
    ] {
        assert_eq!(protocol(keys), expected, "{keys}");
    }
}
