//! Where calls go, from a configuration as a carrier engineer would write it.

use std::net::SocketAddr;

use voxlane::call::{Outbound, Plan};
use voxlane::config::model::{Config, UserPhone};
use voxlane::route::identity::Identity;
use voxlane::route::{Route, entrances, route};
use voxlane::sip::digest::{Admission, NonceKey};
use voxlane::sip::{Address, DialogId, Incoming, Privacy, Transport};

const CONFIG: &str = r#"
[[trunk]]
name = "wide"
allow = ["198.51.100.0/24"]
proxy = "sip.wide.example:5080"
user_phone = "on"
caller_ids = ["+15550100", "+15550101"]

[[trunk]]
name = "narrow"
allow = ["198.51.100.7/32"]
proxy = "192.0.2.20"
domain = "carrier.example"
numbers = "nanp"

[[trunk.number_rule]]
prefix = "77"
length = 6
prepend = "+1555"

[[trunk]]
name = "by-to"
allow = ["198.51.100.9/32"]
number_from = "to"

[[tenant]]
name = "acme"

[[tenant]]
name = "other"
domains = ["pbx.other.example"]

[[agent]]
name = "echo"
url = "builtin:echo"

[[agent]]
name = "bot"
url = "wss://bot.example/media"

[[did]]
number = "+15550001"
tenant = "acme"
agent = "echo"

[[did]]
number = "+15550002"
agent = "bot"

[[did]]
number = "+15551000..+15551999"
tenant = "acme"
trunk = "wide"

[[did]]
number = "+15552000"
trunk = "narrow"
to = "+15559000"
"#;

fn config() -> Config {
    Config::parse(CONFIG, "voxlane.toml", &|_| None).unwrap()
}

fn address(user: &str, host: &str) -> Address {
    Address {
        display: "Ann".into(),
        user: user.into(),
        host: host.into(),
        port: None,
    }
}

/// The trunk that a source address names.
fn trunk_of(remote: &str) -> Option<String> {
    let source: SocketAddr = remote.parse().unwrap();
    let admission = Admission::new(NonceKey::new([0; 32]), entrances(&config()));
    admission.trunk_of(source.ip()).map(|entrance| entrance.trunk.clone())
}

fn incoming(remote: &str, to: &str, host: &str) -> Incoming {
    Incoming {
        dialog: DialogId(1),
        local: "203.0.113.50:5060".parse().unwrap(),
        remote: remote.parse().unwrap(),
        transport: Transport::Udp,
        server_name: None,
        request_uri: address(to, host),
        from: address("+15557777", "caller.example"),
        to: address(to, host),
        asserted: None,
        privacy: Privacy::None,
        call_id: "abc".into(),
        max_forwards: 10,
        trunk: trunk_of(remote),
        replaces: None,
        sdp: None,
    }
}

fn routed(remote: &str, to: &str, host: &str) -> Result<Route, u16> {
    route(&config(), &incoming(remote, to, host)).map_err(|refusal| refusal.status)
}

#[test]
fn the_source_address_names_the_trunk_and_the_narrowest_network_wins() {
    let trunk = |remote: &str| routed(remote, "+15550001", "203.0.113.50").map(|route| route.trunk);
    assert_eq!(trunk("198.51.100.8:5060"), Ok("wide".to_owned()));
    assert_eq!(trunk("198.51.100.7:40000"), Ok("narrow".to_owned()));
    assert_eq!(trunk("[::ffff:198.51.100.7]:5060"), Ok("narrow".to_owned()));
    assert_eq!(trunk("192.0.2.99:5060"), Err(403));
}

#[test]
fn numbers_come_in_the_forms_carriers_write() {
    let wide = |to: &str| routed("198.51.100.8:5060", to, "203.0.113.50").map(|route| route.number);
    for written in [
        "+15550001",
        "15550001",
        "+1-555-0001",
        "+15550001;npdi;rn=+15559999",
        "0015550001",
    ] {
        assert_eq!(wide(written).as_deref(), Ok("+15550001"), "{written}");
    }
    assert_eq!(wide("+15550009"), Err(404));
    assert_eq!(wide("alice"), Err(404));
    // The same written by a carrier with rules and a plan of its own.
    let narrow = |to: &str| routed("198.51.100.7:5060", to, "203.0.113.50").map(|route| route.number);
    for written in ["770001", "+15550001"] {
        assert_eq!(narrow(written).as_deref(), Ok("+15550001"), "{written}");
    }
    // Its plan is that of North America: these are of another country, or of none.
    assert_eq!(narrow("0015550001"), Err(404));
    assert_eq!(narrow("15550001"), Err(404));
}

#[test]
fn the_callers_number_is_read_by_the_same_rules() {
    let caller = |from: &str| {
        let call = Incoming {
            from: address(from, "caller.example"),
            ..incoming("198.51.100.7:5060", "+15550001", "203.0.113.50")
        };
        route(&config(), &call).unwrap().caller
    };
    assert_eq!(caller("2125550001"), "+12125550001");
    assert_eq!(caller("0114930123456"), "+4930123456");
    assert_eq!(caller("anonymous"), "anonymous");
}

#[test]
fn the_number_may_stand_in_to() {
    let called = |remote: &str, request_uri: &str, to: &str| {
        let call = Incoming {
            request_uri: address(request_uri, "203.0.113.50"),
            ..incoming(remote, to, "203.0.113.50")
        };
        route(&config(), &call)
            .map(|route| route.number)
            .map_err(|refusal| refusal.status)
    };
    // A Request-URI without a user: sip:sip.{tenant}.trusst.cloud, I10.
    assert_eq!(called("198.51.100.8:5060", "", "+15550001").as_deref(), Ok("+15550001"));
    assert_eq!(called("198.51.100.8:5060", "trunk7", "+15550001"), Err(404));
    // This trunk says that it stands in To, whatever the Request-URI has.
    assert_eq!(
        called("198.51.100.9:5060", "trunk7", "+15550001").as_deref(),
        Ok("+15550001")
    );
}

#[test]
fn a_tenants_domain_reaches_only_that_tenants_numbers() {
    let to = |host: &str| routed("198.51.100.8:5060", "+15550001", host).map(|route| route.tenant);
    assert_eq!(to("sip.acme.trusst.cloud"), Ok(Some("acme".to_owned())));
    assert_eq!(to("SIP.ACME.trusst.cloud"), Ok(Some("acme".to_owned())));
    assert_eq!(to("pbx.other.example"), Err(404));
    assert_eq!(to("sip.nobody.trusst.cloud"), Err(404));
    assert_eq!(to("gw.example"), Ok(Some("acme".to_owned())));
    // A number that is nobody's is not acme's.
    let nobodys = routed("198.51.100.8:5060", "+15550002", "sip.acme.trusst.cloud");
    assert_eq!(nobodys.map(|route| route.number), Err(404));
}

#[test]
fn what_names_a_tenant_must_agree() {
    let asked = |server_name: &str, host: &str| {
        let call = Incoming {
            transport: Transport::Tls,
            server_name: Some(server_name.to_owned()),
            ..incoming("198.51.100.8:5061", "+15550001", host)
        };
        route(&config(), &call)
            .map(|route| route.tenant)
            .map_err(|refusal| (refusal.status, refusal.text))
    };
    let acme = Ok(Some("acme".to_owned()));
    assert_eq!(asked("sip.acme.trusst.cloud", "203.0.113.50"), acme);
    assert_eq!(asked("sip.acme.trusst.cloud", "sip.acme.trusst.cloud"), acme);
    assert_eq!(asked("gw.example", "sip.acme.trusst.cloud"), acme);
    let refused = |status, text: &str| Err((status, text.to_owned()));
    assert_eq!(
        asked("pbx.other.example", "203.0.113.50"),
        refused(
            404,
            "the number is not one of tenant other, whose TLS server name pbx.other.example is"
        )
    );
    assert_eq!(
        asked("pbx.other.example", "sip.acme.trusst.cloud"),
        refused(
            403,
            "domain sip.acme.trusst.cloud is tenant acme's, but TLS server name pbx.other.example is other's"
        )
    );
    assert_eq!(
        asked("sip.nobody.trusst.cloud", "203.0.113.50"),
        refused(404, "there is no tenant of TLS server name sip.nobody.trusst.cloud")
    );
}

#[test]
fn an_agent_behind_a_host_is_looked_up_and_a_built_in_one_is_not() {
    let host = |to: &str| match routed("198.51.100.8:5060", to, "203.0.113.50").unwrap().plan {
        Plan::Agent { host, .. } => host.map(|host| (host.host, host.port)),
        Plan::Trunk(_) | Plan::Application { .. } => panic!("an agent was expected"),
    };
    assert_eq!(host("+15550001"), None);
    assert_eq!(host("+15550002"), Some(("bot.example".to_owned(), 443)));
}

#[test]
fn calls_to_a_trunk_are_written_as_carriers_want_them() {
    let outbound = |to: &str| match routed("198.51.100.8:5060", to, "203.0.113.50").unwrap().plan {
        Plan::Trunk(outbound) => *outbound,
        Plan::Agent { .. } | Plan::Application { .. } => panic!("a trunk was expected"),
    };
    // I12: Request-URI sip:+{number}@{carrier-domain}, From and To in E.164.
    let Outbound {
        ways,
        request_uri,
        identity,
        to,
        ..
    } = outbound("+15551234");
    assert_eq!(ways[0].place.to_string(), "sip.wide.example:5080");
    assert_eq!(
        (request_uri.user.as_str(), request_uri.host.as_str()),
        ("+15551234", "sip.wide.example")
    );
    assert_eq!((to.user.as_str(), to.host.as_str()), ("+15551234", "sip.wide.example"));
    let [wide, narrow] = ["+15551234", "+15552000"].map(|to| outbound(to).user_phone);
    assert_eq!([wide, narrow], [UserPhone::On, UserPhone::Off]);
    assert_eq!(outbound("+15551234").max_forwards, 9);
    // The caller's number is not one the trunk may show: the first that is, instead.
    assert_eq!(identity.from.user, "+15550100");

    let Outbound {
        request_uri, identity, ..
    } = outbound("+15552000");
    assert_eq!(
        (request_uri.user.as_str(), request_uri.host.as_str()),
        ("+15559000", "carrier.example")
    );
    // This trunk names no caller IDs: the caller's own passes.
    assert_eq!(identity.from.user, "+15557777");
}

#[test]
fn a_call_that_has_been_passed_on_too_often_ends_here() {
    let arrived = |max_forwards, to: &str| {
        let call = Incoming {
            max_forwards,
            ..incoming("198.51.100.8:5060", to, "203.0.113.50")
        };
        route(&config(), &call).map_err(|refusal| refusal.status)
    };
    assert_eq!(arrived(0, "+15551234").unwrap_err(), 483);
    // An agent is the end of the way: nothing is passed on.
    assert!(arrived(0, "+15550001").is_ok());
    let Plan::Trunk(outbound) = arrived(255, "+15551234").unwrap().plan else {
        panic!("a trunk was expected")
    };
    assert_eq!(outbound.max_forwards, 69);
}

/// What a call from `from` says of who calls when it goes out on a trunk that says `trunk` of that; `asserted` and `privacy`
/// are what it came with.
fn told(trunk: &str, from: &str, asserted: Option<&str>, privacy: Privacy) -> Result<Identity, u16> {
    let text = format!(
        "[[trunk]]\nname = \"in\"\nallow = [\"198.51.100.0/24\"]\ntrust_identity = \"on\"\n\
         [[trunk]]\nname = \"out\"\nproxy = \"192.0.2.20\"\n{trunk}\n\
         [[did]]\nnumber = \"+15551000\"\ntrunk = \"out\"\n"
    );
    let config = Config::parse(&text, "voxlane.toml", &|_| None).unwrap();
    let call = Incoming {
        from: address(from, "caller.example"),
        asserted: asserted.map(|user| address(user, "caller.example")),
        privacy,
        trunk: Some("in".into()),
        ..incoming("198.51.100.8:5060", "+15551000", "203.0.113.50")
    };
    match route(&config, &call) {
        Ok(Route {
            plan: Plan::Trunk(outbound),
            ..
        }) => Ok(outbound.identity),
        Ok(route) => panic!("{route:?}"),
        Err(refusal) => Err(refusal.status),
    }
}

#[test]
fn a_caller_id_that_a_trunk_may_not_show_is_replaced_or_refused() {
    let ids = "caller_ids = [\"+15550100\", \"+15550101\"]\n";
    let shown = |trunk: &str, from: &str| told(trunk, from, None, Privacy::None).map(|told| told.from);
    assert_eq!(shown(ids, "+15550101").unwrap().display, "Ann");
    let replaced = shown(ids, "+15557777").unwrap();
    assert_eq!((replaced.user.as_str(), replaced.display.as_str()), ("+15550100", ""));
    let refuse = format!("{ids}unlisted_caller_id = \"refuse\"");
    assert_eq!(shown(&refuse, "+15557777"), Err(403));
    assert_eq!(shown(&refuse, "15550101").unwrap().user, "+15550101");
}

#[test]
fn a_trunk_that_is_trusted_says_who_calls() {
    let told = told("", "+15559999", Some("15557777"), Privacy::None).unwrap();
    assert_eq!(told.from.user, "+15557777");
    assert_eq!(told.asserted, None);
}

#[test]
fn who_withholds_his_number_is_anonymous_and_known_to_trusted_trunks_only() {
    let own = told("", "+15557777", None, Privacy::Id).unwrap();
    assert_eq!(
        (own.from.user.as_str(), own.from.host.as_str(), own.privacy),
        ("anonymous", "anonymous.invalid", Privacy::Id)
    );
    assert_eq!(own.asserted, None);
    let trusted = "asserted_identity = \"caller\"";
    // By Privacy, and by a From that says nothing.
    for (from, asserted, privacy) in [
        ("+15557777", None, Privacy::Id),
        ("anonymous", Some("+15557777"), Privacy::Id),
        ("anonymous", Some("+15557777"), Privacy::None),
    ] {
        let told = told(trusted, from, asserted, privacy).unwrap();
        assert_eq!(
            (told.from.user.as_str(), told.privacy),
            ("anonymous", Privacy::Id),
            "{from}"
        );
        assert_eq!(told.asserted.unwrap().user, "+15557777", "{from}");
    }
    // Nobody knows who it is.
    let nobody = told(trusted, "anonymous", None, Privacy::None).unwrap();
    assert_eq!((nobody.from.user.as_str(), nobody.asserted), ("anonymous", None));
    // A number of the trunk's own hides the caller: nothing else need be hidden.
    let replaced = told("caller_ids = [\"+15550100\"]", "+15557777", None, Privacy::Id).unwrap();
    assert_eq!(
        (replaced.from.user.as_str(), replaced.privacy),
        ("+15550100", Privacy::None)
    );
}

#[test]
fn a_trunk_can_be_told_one_number_for_all() {
    let told = told("asserted_identity = \"+15550000\"", "+15557777", None, Privacy::None).unwrap();
    assert_eq!(
        (told.from.user.as_str(), told.asserted.unwrap().user.as_str()),
        ("+15557777", "+15550000")
    );
}
