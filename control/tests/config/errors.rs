//! Bad configuration files and what their authors are told.

use voxlane::config::Config;

/// What is wrong with a text, one mistake a line.
fn errors(text: &str) -> String {
    let environment = |name: &str| (name == "PROXY").then(|| "sip.carrier.example".to_owned());
    match Config::parse(text, "voxlane.toml", &environment) {
        Ok(_) => String::new(),
        Err(errors) => errors.to_string(),
    }
}

/// A trunk, a tenant, an agent on lines 1-11, so that cases start on line 12.
const NAMES: &str = r#"[[trunk]]
name = "lab"
proxy = "127.0.0.1:5070"
caller_ids = ["+15550100"]
[[trunk]]
name = "inbound"
allow = ["198.51.100.0/24"]
[[tenant]]
name = "demo"
[[agent]]
name = "echo"
url = "builtin:echo"
"#;

#[test]
fn one_mistake_one_line() {
    for (text, expected) in [
        // TOML
        ("[sip", ":1: is not TOML: unclosed table, expected `]`"),
        (
            "[sip]\n\nmax_calls = 1\nmax_calls = 2",
            ":4: is not TOML: duplicate key",
        ),
        // unknown keys and sections
        ("[sipp]", ":1: sipp: unknown section; did you mean \"sip\"?"),
        (
            "[[trunks]]\nname = \"a\"",
            ":1: trunks: unknown section; did you mean \"trunk\"?",
        ),
        (
            "zebra = 1",
            ":1: zebra: unknown key; there is \"node\", \"sip\", \"media\", \"overload\", \"api\", \"dial\", \"route\", \"sdp\", \"transfer\", \"trunk\", \"tenant\", \"agent\", \"did\"",
        ),
        (
            "[sip]\n\nlissten = []",
            ":3: sip.lissten: unknown key; did you mean \"listen\"?",
        ),
        (
            "[sdp]\nuser = \"x\"",
            ":2: sdp.user: unknown key; there is \"origin_user\", \"session_name\"",
        ),
        // accounts, and who agents are
        (
            "[[tenant]]\nname = \"a\"\naccount_sid = \"AC1\"",
            ":3: tenant.account_sid: \"AC1\" is not an account SID; write \"AC\" and 32 hexadecimal digits",
        ),
        (
            "[[tenant]]\nname = \"a\"\nauth_token = \"x\"\nauth_token_file = \"/dev/null\"",
            ":1: tenant.auth_token_file: is written beside tenant.auth_token; keep one of them\n\
             voxlane.toml:4: tenant.auth_token_file: what is in \"/dev/null\" is empty",
        ),
        (
            "[[agent]]\nname = \"a\"\nurl = \"ws://bot.example/\"\nca = \"ca.pem\"",
            ":1: agent.ca: is for TLS; write url = \"wss://…\", or remove it",
        ),
        (
            "[[agent]]\nname = \"a\"\nurl = \"wss://bot.example/\"\nkey = \"key.pem\"",
            ":4: agent.key: has no certificate; write certificate = \"FILE\"",
        ),
        // fallbacks of agents
        (
            "[[agent]]\nname = \"a\"\nurl = \"builtin:echo\"\non_failure = { agent = \"b\", status = 480 }",
            ":4: agent.on_failure.agent: or another way is to be named, and one only; write agent = \"NAME\"; trunk = \"NAME\" and to = \"+15550100\"; or status = 480, cause = 41",
        ),
        (
            "[[agent]]\nname = \"a\"\nurl = \"builtin:echo\"\non_silent = { agent = \"a\" }",
            ":4: agent.on_silent.agent: is the agent that has failed; name another",
        ),
        (
            "[[agent]]\nname = \"a\"\nurl = \"builtin:echo\"\non_lost = { trunk = \"x\" }",
            ":4: agent.on_lost.to: is missing; write to = \"+15550100\" or to = \"sip:USER@HOST\"",
        ),
        (
            "[[agent]]\nname = \"a\"\nurl = \"builtin:echo\"\non_lost = \"backup\"",
            ":4: agent.on_lost: is text, must be a table; write { agent = \"NAME\" }",
        ),
        (
            "[[agent]]\nname = \"a\"\nurl = \"builtin:echo\"\non_refused = { status = 200 }",
            ":4: agent.on_refused.status: 200 is out of range; write 400 to 699",
        ),
        (
            "[[agent]]\nname = \"a\"\nurl = \"builtin:echo\"\non_failure = { trunk = \"far\", to = \"+15550100\" }",
            ":4: agent.on_failure.trunk: there is no trunk \"far\"; write a [[trunk]] of that name",
        ),
        (
            "[[agent]]\nname = \"a\"\nurl = \"builtin:echo\"\nsilence_timeout = \"2s\"\nping_interval = \"2s\"",
            ":5: agent.ping_interval: is no shorter than silence_timeout, 2s: an agent would be dead before it is asked",
        ),
        (
            "[[agent]]\nname = \"a\"\nurl = \"builtin:echo\"\nqueue_limit = \"2h\"",
            ":4: agent.queue_limit: \"2h\" is too long; write at most \"1h\"",
        ),
        (
            "[[agent]]\nname = \"a\"\nurl = \"audiosocket://bot.example:9019\"\nsample_rate = 11025",
            ":4: agent.sample_rate: 11025 is not a sample rate that is known; write one of 8000, 16000, 24000, 48000 (Hz)",
        ),
        (
            "[[agent]]\nname = \"a\"\nurl = \"audiosocket://bot.example:9019\"\nprotocol = \"twilio\"",
            ":4: agent.protocol: an AudioSocket server speaks no other protocol; write url = \"ws://…\" or \"wss://…\", or leave this out",
        ),
        (
            "[[agent]]\nname = \"a\"\nurl = \"ws://bot.example/\"\nvoice = \"marin\"",
            ":1: agent.voice: is for the Realtime API; write protocol = \"openai-realtime\", or remove it",
        ),
        (
            "[[agent]]\nname = \"a\"\nurl = \"ws://bot.example/\"\nprotocol = \"openai-realtime\"\nsession = \"[]\"",
            ":5: agent.session: is not a JSON object; write \"{ … }\"",
        ),
        // overload
        (
            "[overload]\ncpu = \"90\"",
            ":2: overload.cpu: \"90\" is not a share of processors; write \"90%\" or \"off\"",
        ),
        (
            "[overload]\ndelay = \"0s\"",
            ":2: overload.delay: \"0s\" is always exceeded; write a number and a unit: \"500ms\", \"4s\", \"2m\" or \"1h\", or \"off\"",
        ),
        (
            "[sip]\nmax_calls_per_second = 0",
            ":2: sip.max_calls_per_second: 0 is out of range; write 1 to 100000",
        ),
        (
            "[dial]\nwaiting = 1",
            ":2: dial.waiting: unknown key; there is \"max_waiting\"",
        ),
        // route
        (
            "[route]\ndomain_template = \"sip.trusst.cloud\"",
            ":2: route.domain_template: \"sip.trusst.cloud\" is no template of a domain; write one with {tenant} once, such as \"sip.{tenant}.trusst.cloud\"",
        ),
        (
            "[route]\nunknown_tenant = \"no\"",
            ":2: route.unknown_tenant: \"no\" is neither \"404\" nor \"drop\"",
        ),
        (
            "[route]\ndomains = [\"gw.example\",\n\"SIP.demo.trusst.cloud\"]\n[[tenant]]\nname = \"demo\"",
            ":3: route.domains: \"SIP.demo.trusst.cloud\" is a domain of tenant \"demo\"; keep it in one place",
        ),
        (
            "[[trunk]]\nname = \"t\"\nproxy = \"a\"\nnumbers = \"49\"",
            ":4: trunk.numbers: \"49\" is no numbering plan; write \"e164\", \"nanp\", \"strict\" or a country code such as \"+49\"",
        ),
        (
            "[[trunk]]\nname = \"t\"\nproxy = \"a\"\nnumber_from = \"from\"",
            ":4: trunk.number_from: \"from\" is neither \"request-uri\" nor \"to\"",
        ),
        (
            "[[trunk]]\nname = \"t\"\nproxy = \"a\"\n[[trunk.number_rule]]\nstrip = 1",
            ":4: trunk.number_rule.prefix: and number_rule.length are both missing, so every number fits; write what this rule is for",
        ),
        (
            "[[trunk]]\nname = \"t\"\nproxy = \"a\"\n[[trunk.number_rule]]\nprefix = \"x\"",
            ":5: trunk.number_rule.prefix: \"x\" begins no number; write digits, with a \"+\" before them or without",
        ),
        // media
        (
            "[media]\njitter_max = \"600ms\"",
            ":2: media.jitter_max: \"600ms\" is more than packets can be kept; write at most \"500ms\"",
        ),
        (
            "[media]\nfirst_words = \"61s\"",
            ":2: media.first_words: \"61s\" is more than is kept; write at most \"60s\"",
        ),
        (
            "[media]\njitter_min = \"300ms\"",
            ":2: media.jitter_max: 200ms is less than media.jitter_min, 300ms; write more, or less there",
        ),
        (
            "[media]\nloss_limit = \"0.01\"",
            ":2: media.loss_limit: \"0.01\" is not a share of packets; write \"1%\" or \"off\"",
        ),
        (
            "[media]\nmedia_timeout = \"never\"",
            ":2: media.media_timeout: \"never\" is not a duration; write a number and a unit: \"500ms\", \"4s\", \"2m\" or \"1h\", or \"off\"",
        ),
        // kinds of value
        ("sip = 5", ":1: sip: is a number, must be a section; write [sip] once"),
        (
            "[trunk]\nname = \"a\"",
            ":1: trunk: is a table, must be a list of sections; write [[trunk]] for each",
        ),
        ("[[sip]]", ":1: sip: is a list, must be a section; write [sip] once"),
        (
            "[node]\nname = 5",
            ":2: node.name: is a number, must be text; write it in quotes",
        ),
        (
            "[sip]\nlisten = \"udp:0.0.0.0:5060\"",
            ":2: sip.listen: is text, must be a list; write [\"…\", \"…\"]",
        ),
        (
            "[media]\nptime = \"20\"",
            ":2: media.ptime: is text, must be a whole number; write it without quotes",
        ),
        (
            "[[agent]]\nname = \"a\"\nurl = \"builtin:echo\"\nparameters = [\"a\"]",
            ":4: agent.parameters: is a list, must be a table; write { name = \"value\" }",
        ),
        // environment
        (
            "[node]\nname = \"${NODE}\"",
            ":2: node.name: environment variable NODE is not set; set it, or write \"${NODE:-default}\"",
        ),
        // node
        (
            "[node]\nname = \"a b\"",
            ":2: node.name: \"a b\" is not a name; write letters, digits, \"-\", \"_\" and \".\"",
        ),
        (
            "[node]\nname = \"..\"",
            ":2: node.name: \"..\" is not a name; write letters, digits, \"-\", \"_\" and \".\"",
        ),
        (
            "[node]\nmetrics = \"9060\"",
            ":2: node.metrics: \"9060\" is not an address; write \"IP:PORT\"",
        ),
        // sip
        (
            "[sip]\nlisten = [\n  \"udp:0.0.0.0:5060\",\n  \"udp:300.1.1.1:5060\",\n]",
            ":4: sip.listen: \"udp:300.1.1.1:5060\" is not an address; write \"udp:IP:PORT\"",
        ),
        (
            "[sip]\nlisten = [\"ws:0.0.0.0:5061\"]",
            ":2: sip.listen: SIP over ws is not available; write \"udp:IP:PORT\", \"tcp:IP:PORT\" or \"tls:IP:PORT\"",
        ),
        (
            "[sip]\nlisten = [\"tcp:5060\"]",
            ":2: sip.listen: \"tcp:5060\" is not an address; write \"tcp:IP:PORT\"",
        ),
        (
            "[sip]\nlisten = [\"udp:0.0.0.0:5060\", \"tls:0.0.0.0:5061\"]",
            ":2: sip.listen: tls:0.0.0.0:5061 needs a certificate; write [sip.tls] certificate = \"FILE\" and key = \"FILE\"",
        ),
        (
            "[sip.tls]\ncertificate = \"a.pem\"",
            ":2: sip.tls.certificate: has no key; write key = \"FILE\"",
        ),
        (
            "[sip.tls]\nkey = \"a.pem\"",
            ":2: sip.tls.key: has no certificate; write certificate = \"FILE\"",
        ),
        (
            "[sip.tls]\nclient_ca = \"ca.pem\"",
            ":2: sip.tls.client_ca: vouches for client certificates, which are not asked for; write client_certificates = \
             \"required\" or \"optional\"",
        ),
        (
            "[sip.tls]\nclient_certificates = \"required\"",
            ":2: sip.tls.client_ca: is missing; write client_ca = \"FILE\", the certificates of those who vouch for clients",
        ),
        (
            "[sip.tls]\nclient_certificates = \"on\"",
            ":2: sip.tls.client_certificates: \"on\" is unknown; write \"off\", \"optional\" or \"required\"",
        ),
        (
            "[sip]\nkeepalive = \"never\"",
            ":2: sip.keepalive: \"never\" is not a duration; write a number and a unit: \"500ms\", \"4s\", \"2m\" or \"1h\", or \"off\"",
        ),
        (
            "[sip]\ndscp = \"CS9\"",
            ":2: sip.dscp: \"CS9\" is not a DSCP; write \"EF\", \"VA\", \"CS0\" to \"CS7\", \"AF11\" to \"AF43\" or 0 to 63",
        ),
        (
            "[[trunk]]\nname = \"a\"\nproxy = \"b\"\ntransport = \"sctp\"",
            ":4: trunk.transport: \"sctp\" is not a transport; write \"udp\", \"tcp\" or \"tls\"",
        ),
        (
            "[[trunk]]\nname = \"a\"\nproxy = \"b\"\n[[trunk.gateway]]\naddress = \"c\"",
            ":3: trunk.proxy: is written beside [[trunk.gateway]]; make it one of those, or keep it alone",
        ),
        (
            "[[trunk]]\nname = \"a\"\n[[trunk.gateway]]\npriority = 1",
            ":3: trunk.gateway.address: is missing; write address = \"HOST\" or \"HOST:PORT\"",
        ),
        (
            "[[trunk]]\nname = \"a\"\n[[trunk.gateway]]\naddress = \"c\"\nweight = 70000",
            ":5: trunk.gateway.weight: 70000 is out of range; write 0 to 65535",
        ),
        (
            "[[trunk]]\nname = \"a\"\n[[trunk.gateway]]\naddress = \"c\"\ntransport = \"tls\"",
            ":5: trunk.transport: tls is not listened on; add \"tls:IP:PORT\" to [sip] listen",
        ),
        (
            "[[trunk]]\nname = \"a\"\nproxy = \"b\"\nredirects = \"on\"",
            ":4: trunk.redirects: \"on\" is unknown; write \"off\", \"trunk\" or \"any\"",
        ),
        (
            "[[trunk]]\nname = \"a\"\nproxy = \"b\"\nuser_phone = \"yes\"",
            ":4: trunk.user_phone: \"yes\" is unknown; write \"off\" or \"on\"",
        ),
        (
            "[[trunk]]\nname = \"a\"\nproxy = \"b\"\nhealth_interval = \"500ms\"",
            ":4: trunk.health_interval: \"500ms\" is less than a second; write a number and a unit: \"500ms\", \"4s\", \"2m\" or \"1h\"",
        ),
        (
            "[[trunk]]\nname = \"a\"\nproxy = \"b\"\nhealth_interval = \"off\"\nhealth_failures = 2",
            ":5: trunk.health_failures: means nothing without health_interval = \"30s\"",
        ),
        (
            "[[trunk]]\nname = \"a\"\nproxy = \"b\"\nhealth_interval = \"9s\"\nhealth_successes = 0",
            ":5: trunk.health_successes: 0 is out of range; write 1 to 100",
        ),
        (
            "[[trunk]]\nname = \"a\"\nallow = [\"192.0.2.1\"]\nhealth_interval = \"9s\"",
            ":4: trunk.health_interval: needs gateways to ask; write proxy = \"HOST\"",
        ),
        (
            "[[trunk]]\nname = \"a\"\nallow = [\"192.0.2.1\"]\nregister = \"on\"\nregister_user = \"b\"",
            ":4: trunk.register: needs somebody to register with; write proxy = \"HOST\"",
        ),
        (
            "[[trunk]]\nname = \"a\"\nproxy = \"b\"\nregister = \"on\"",
            ":4: trunk.register: needs a name; write register_user = \"…\", or username = \"…\" and a password",
        ),
        (
            "[[trunk]]\nname = \"a\"\nproxy = \"b\"\nregister = \"yes\"",
            ":4: trunk.register: \"yes\" is unknown; write \"on\" or \"off\"",
        ),
        (
            "[[trunk]]\nname = \"a\"\nproxy = \"b\"\nregister_expires = \"5m\"",
            ":4: trunk.register_expires: means nothing without register = \"on\"",
        ),
        (
            "[[trunk]]\nname = \"a\"\nproxy = \"b\"\nunlisted_caller_id = \"off\"",
            ":4: trunk.unlisted_caller_id: \"off\" is unknown; write \"replace\" or \"refuse\"",
        ),
        (
            "[[trunk]]\nname = \"a\"\nproxy = \"b\"\nasserted_identity = \"100\"",
            ":4: trunk.asserted_identity: \"100\" is unknown; write \"off\", \"caller\" or a number such as \"+15550100\"",
        ),
        (
            "[sip.dns]\nservers = [\"resolver\"]",
            ":2: sip.dns.servers: \"resolver\" is not an address; write \"IP\" or \"IP:PORT\"",
        ),
        (
            "[[trunk]]\nname = \"a\"\nproxy = \"b\"\ntransport = \"tls\"",
            ":4: trunk.transport: tls is not listened on; add \"tls:IP:PORT\" to [sip] listen",
        ),
        (
            "[[trunk]]\nname = \"a\"\nproxy = \"b\"\ntls_certificate = \"c.pem\"",
            ":4: trunk.tls_certificate: has no key; write tls_key = \"FILE\"",
        ),
        (
            "[sip]\nlisten = []",
            ":2: sip.listen: is empty; write at least one, or leave the key out for the default",
        ),
        (
            "[sip]\nlisten = [\"udp:[::]:5060\", \"udp:[::]:5060\"]",
            ":2: sip.listen: \"udp:[::]:5060\" stands here twice; write it once",
        ),
        (
            "[sip]\nuser_agent = \"a\\r\\nb\"",
            ":2: sip.user_agent: \"a\\r\\nb\" has a line break or control character",
        ),
        (
            "[sip]\ninvite_timeout = \"60\"",
            ":2: sip.invite_timeout: \"60\" is not a duration; write a number and a unit: \"500ms\", \"4s\", \"2m\" or \"1h\"",
        ),
        (
            "[sip]\ninvite_timeout = \"0s\"",
            ":2: sip.invite_timeout: \"0s\" leaves no time; write a number and a unit: \"500ms\", \"4s\", \"2m\" or \"1h\"",
        ),
        (
            "[sip]\nmax_calls = 0",
            ":2: sip.max_calls: 0 is out of range; write 1 to 1000000",
        ),
        (
            "[sip]\nmax_calls = -5",
            ":2: sip.max_calls: -5 is out of range; write 1 to 1000000",
        ),
        // media
        (
            "[media]\naddresses = [\"0.0.0.0\"]",
            ":2: media.addresses: 0.0.0.0 cannot be written into SDP; write an address of this machine",
        ),
        (
            "[media]\naddresses = [\"eth0\"]",
            ":2: media.addresses: \"eth0\" is not an IP address; write one of this machine, such as \"203.0.113.50\"",
        ),
        (
            "[media]\nports = \"10001-20000\"",
            ":2: media.ports: \"10001-20000\" begins with an odd port, and RTP takes even ones; write \"10000-20000\"",
        ),
        (
            "[media]\nports = \"10000-10000\"",
            ":2: media.ports: \"10000-10000\" holds no pair of ports; write the lower port first, such as \"10000-20000\"",
        ),
        (
            "[media]\nports = \"10000-70000\"",
            ":2: media.ports: \"10000-70000\" is not a range of ports; write \"FIRST-LAST\", such as \"10000-20000\"",
        ),
        (
            "[media]\nports = \"100-20000\"",
            ":2: media.ports: \"100-20000\" reaches below 1024, where system services live; write \"10000-20000\"",
        ),
        (
            "[media]\nptime = 25",
            ":2: media.ptime: 25 ms is not a packet time; write 10, 20, 30 or 40",
        ),
        (
            "[media]\nworkers = \"3-1\"",
            ":2: media.workers: \"3-1\" is not a list of cores; write cores and ranges, such as \"1-3,5\"",
        ),
        (
            "[media]\nworkers = \"0,0\"",
            ":2: media.workers: \"0,0\" names core 0 twice; write it once",
        ),
        (
            "[media]\nio = \"raw\"",
            ":2: media.io: \"raw\" is not a way to send and receive; write \"auto\", \"af_xdp\" or \"sockets\"",
        ),
        (
            "[media]\nxdp = \"on\"",
            ":2: media.xdp: \"on\" is not a mode; write \"auto\", \"native\", \"generic\" or \"off\"",
        ),
        (
            "[media]\ninterfaces = [\"a/b\"]",
            ":2: media.interfaces: \"a/b\" is not the name of an interface; see \"ip link\"",
        ),
        (
            "[media]\naddresses = [\"fe80::1\"]",
            ":2: media.addresses: fe80::1 is known on one link only; write a global or unique local address of this machine",
        ),
        (
            "[media]\naddresses = [\"::ffff:192.0.2.1\"]",
            ":2: media.addresses: ::ffff:192.0.2.1 is an IPv4 address in disguise; write \"192.0.2.1\"",
        ),
        (
            "[media]\nunallocated = \"reject\"",
            ":2: media.unallocated: \"reject\" is not a choice; write \"drop\" or \"pass\"",
        ),
        (
            "[media]\ndscp = \"AF44\"",
            ":2: media.dscp: \"AF44\" is not a DSCP; write \"EF\", \"VA\", \"CS0\" to \"CS7\", \"AF11\" to \"AF43\" or 0 to 63",
        ),
        (
            "[media]\ndscp = 64",
            ":2: media.dscp: \"64\" is not a DSCP; write \"EF\", \"VA\", \"CS0\" to \"CS7\", \"AF11\" to \"AF43\" or 0 to 63",
        ),
        (
            "[media]\ndscp = []",
            ":2: media.dscp: is a list, must be text; write it in quotes",
        ),
        (
            "[media]\npolice = \"yes\"",
            ":2: media.police: \"yes\" is not a choice; write \"on\" or \"off\"",
        ),
        (
            "[media]\npin = \"voxlane\"",
            ":2: media.pin: \"voxlane\" is not a path from the root; write \"/sys/fs/bpf/voxlane/NAME\" or \"off\"",
        ),
        (
            "[media]\npin = \"/sys/fs/bpf/../bpf\"",
            ":2: media.pin: \"/sys/fs/bpf/../bpf\" has a dot, which the BPF file system keeps for itself; write \
             \"/sys/fs/bpf/voxlane/NAME\" or \"off\"",
        ),
        (
            "[media]\npin = \"/sys/fs/bpf/\"",
            ":2: media.pin: \"/sys/fs/bpf/\" is shared with other programs; write \"/sys/fs/bpf/voxlane/NAME\" or \"off\"",
        ),
        (
            "[sip]\nlisten = [\n  \"udp:0.0.0.0:5060\",\n  \"udp:0.0.0.0:15060\",\n]",
            ":4: sip.listen: udp:0.0.0.0:15060 lies within media.ports 10000-20000, where what is not media is dropped; \
             choose another port, other media.ports, or write [media] unallocated = \"pass\"",
        ),
        (
            "[sip]\nlisten = [\"udp:[2001:db8::1]:20000\"]\n[media]\naddresses = [\"192.0.2.1\", \"2001:db8::1\"]",
            ":2: sip.listen: udp:[2001:db8::1]:20000 lies within media.ports 10000-20000, where what is not media is \
             dropped; choose another port, other media.ports, or write [media] unallocated = \"pass\"",
        ),
        (
            "[media]\nptime = 20\nports = \"5000-6000\"",
            ":3: media.ports: 5000-6000 holds the port of sip.listen, udp:0.0.0.0:5060, and what is not media is dropped \
             there; choose another port, other media.ports, or write [media] unallocated = \"pass\"",
        ),
        // sdp
        (
            "[sdp]\norigin_user = \"a b\"",
            ":2: sdp.origin_user: \"a b\" has a blank; write one word",
        ),
        ("[sdp]\nsession_name = \"\"", ":2: sdp.session_name: is empty"),
        // trunk
        (
            "[[trunk]]\nproxy = \"a\"",
            ":1: trunk.name: is missing; write name = \"…\"",
        ),
        (
            "[[trunk]]\nname = \"a\"",
            ":1: trunk.allow: and trunk.proxy are both missing, so no call comes or goes; write \
             allow = [\"ADDRESS/PREFIX\"], proxy = \"HOST:PORT\" or both",
        ),
        (
            "[[trunk]]\nname = \"a\"\nallow = [\"10.0.0.1/8\"]",
            ":3: trunk.allow: \"10.0.0.1/8\" has bits beyond its prefix; write \"10.0.0.0/8\"",
        ),
        (
            "[[trunk]]\nname = \"a\"\nallow = [\"carrier\"]",
            ":3: trunk.allow: \"carrier\" is not a network; write \"ADDRESS/PREFIX\", such as \"198.51.100.0/24\"",
        ),
        (
            "[[trunk]]\nname = \"a\"\nproxy = \"sip:${PROXY}\"",
            ":3: trunk.proxy: \"sip:sip.carrier.example\" is not a host; write \"HOST\" or \"HOST:PORT\" \
             (IPv6 as \"[ADDRESS]:PORT\")",
        ),
        (
            "[[trunk]]\nname = \"a\"\nproxy = \"b\"\ndomain = \"b:5060\"",
            ":4: trunk.domain: \"b:5060\" is not a host name; write one such as \"sip.carrier.example\"",
        ),
        (
            "[[trunk]]\nname = \"a\"\nproxy = \"b\"\ncodecs = [\"OPUS\"]",
            ":4: trunk.codecs: \"OPUS\" is not a codec; there is \"PCMU\", \"PCMA\", \"G722\"",
        ),
        (
            "[[trunk]]\nname = \"a\"\nproxy = \"b\"\ncaller_ids = [\"15550100\"]",
            ":4: trunk.caller_ids: \"15550100\" is not a number in E.164; write \"+\", country code and number, \
             7 to 15 digits",
        ),
        (
            "[[trunk]]\nname = \"a\"\nproxy = \"b\"\nmedia_address = \"192.0.2.1\"",
            ":4: trunk.media_address: 192.0.2.1 is not in media.addresses; write [media] addresses = [\"192.0.2.1\"]",
        ),
        (
            "[media]\naddresses = [\"192.0.2.2\"]\n[[trunk]]\nname = \"a\"\nproxy = \"b\"\nmedia_address = \"192.0.2.1\"",
            ":6: trunk.media_address: 192.0.2.1 is not in media.addresses; add it there, or write \"192.0.2.2\"",
        ),
        (
            "[[trunk]]\nname = \"a\"\nproxy = \"b\"\nlatch = \"on\"",
            ":4: trunk.latch: \"on\" is not a mode; write \"strict\", \"nat\" or \"open\"",
        ),
        (
            "[[trunk]]\nname = \"a\"\nproxy = \"b\"\npacing = \"on\"",
            ":4: trunk.pacing: \"on\" is not a mode; write \"off\", \"auto\" or \"always\"",
        ),
        (
            "[[trunk]]\nname = \"a\"\nproxy = \"b\"\nrtcp_mux = \"on\"",
            ":4: trunk.rtcp_mux: \"on\" is not a mode; write \"off\", \"accept\" or \"offer\"",
        ),
        (
            "[[trunk]]\nname = \"a\"\nproxy = \"b\"\ntranscode = \"on\"",
            ":4: trunk.transcode: \"on\" is not a mode; write \"auto\" or \"off\"",
        ),
        (
            "[[trunk]]\nname = \"a\"\nproxy = \"b\"\nsession_timers = \"on\"",
            ":4: trunk.session_timers: \"on\" is not a mode; write \"off\", \"supported\" or \"required\"",
        ),
        (
            "[[trunk]]\nname = \"a\"\nproxy = \"b\"\nsession_refresher = \"uac\"",
            ":4: trunk.session_refresher: \"uac\" is nobody; write \"auto\", \"us\" or \"them\"",
        ),
        (
            "[[trunk]]\nname = \"a\"\nproxy = \"b\"\nmin_se = \"1500ms\"",
            ":4: trunk.min_se: \"1500ms\" is not in whole seconds; write \"90s\" or \"30m\"",
        ),
        (
            "[[trunk]]\nname = \"a\"\nproxy = \"b\"\nsession_expires = \"60s\"",
            ":4: trunk.session_expires: is shorter than trunk.min_se, 90 s",
        ),
        (
            "[[trunk]]\nname = \"a\"\nproxy = \"b\"\n[[trunk]]\nname = \"a\"\nproxy = \"c\"",
            ":4: trunk.name: there is a trunk \"a\" on line 1 already; choose another name",
        ),
        // tenant
        (
            "[[tenant]]\nname = \"a\"\n[[tenant]]\nname = \"a\"",
            ":3: tenant.name: there is a tenant \"a\" on line 1 already; choose another name",
        ),
        (
            "[[tenant]]\nname = \"a\"\n[[tenant]]\nname = \"b\"\ndomains = [\"b.example\", \"SIP.a.trusst.cloud\"]",
            ":5: tenant.domains: there is a domain \"sip.a.trusst.cloud\" on line 1 already; choose another name",
        ),
        // agent
        (
            "[[agent]]\nname = \"a\"",
            ":1: agent.url: is missing; write url = \"wss://HOST/PATH\" or \"builtin:echo\"",
        ),
        (
            "[[agent]]\nname = \"a\"\nurl = \"http://bot\"",
            ":3: agent.url: \"http://bot\" is not an agent URL; write \"ws://HOST[:PORT]/PATH\", \"wss://…\", \"audiosocket://HOST:PORT\", \
             \"builtin:echo\" or \"builtin:tone?hz=440\"",
        ),
        (
            "[[agent]]\nname = \"a\"\nurl = \"builtin:tone?hz=9000\"",
            ":3: agent.url: \"hz=9000\" is not a frequency; write \"builtin:tone?hz=N\" with N from 20 to 3800",
        ),
        (
            "[[agent]]\nname = \"a\"\nurl = \"wss://me:secret@bot/\"",
            ":3: agent.url: a user or password in the URL is not sent; write headers = { Authorization = \"…\" }",
        ),
        (
            "[[agent]]\nname = \"a\"\nurl = \"ws://bot\"\nprotocol = \"twillio\"",
            ":4: agent.protocol: \"twillio\" is not a protocol; write one of \"twilio\", \"telnyx\", \"jambonz\", \
             \"asterisk-websocket\", \"pcm16\", \"openai-realtime\"",
        ),
        (
            "[[agent]]\nname = \"a\"\nurl = \"builtin:echo\"\nprotocol = \"pcm16\"",
            ":4: agent.protocol: a built-in agent speaks no protocol; write url = \"ws://…\" or \"wss://…\", or leave this \
             out",
        ),
        (
            "[[agent]]\nname = \"a\"\nurl = \"ws://bot\"\nprotocol = \"pcm16\"\nsample_rate = 11025",
            ":5: agent.sample_rate: 11025 is not a sample rate that is known; write one of 8000, 16000, 24000, 48000 (Hz)",
        ),
        (
            "[[agent]]\nname = \"a\"\nurl = \"ws://bot\"\nsample_rate = 16000",
            ":4: agent.sample_rate: goes with protocol = \"jambonz\", \"pcm16\"",
        ),
        (
            "[[agent]]\nname = \"a\"\nurl = \"ws://bot\"\nprotocol = \"telnyx\"\nencoding = \"OPUS\"",
            ":5: agent.encoding: \"OPUS\" is not a coding of audio; write one of \"PCMU\", \"PCMA\"",
        ),
        (
            "[[agent]]\nname = \"a\"\nurl = \"ws://bot\"\nprotocol = \"pcm16\"\ncontrol_messages = \"json\"",
            ":5: agent.control_messages: goes with protocol = \"asterisk-websocket\"",
        ),
        (
            "[[agent]]\nname = \"a\"\nurl = \"builtin:echo\"\nheaders = { \"a b\" = \"secret\" }",
            ":4: agent.headers: \"a b\" is not the name of an HTTP header",
        ),
        (
            "[[agent]]\nname = \"a\"\nurl = \"builtin:echo\"\n[agent.headers]\nAuthorization = \"secret\\n\"",
            ":5: agent.headers: the value of Authorization has a line break or control character",
        ),
    ] {
        assert_eq!(errors(text), format!("voxlane.toml{expected}"), "\n{text}");
    }
}

#[test]
fn mistakes_in_dids() {
    for (text, expected) in [
        (
            "[[did]]\nnumber = \"+15550001\"",
            ":13: did.agent: is missing; write agent = \"NAME\", trunk = \"NAME\" or voice_url = \"https://…\"",
        ),
        (
            "[[did]]\nagent = \"echo\"",
            ":13: did.number: is missing; write number = \"+15550100\" or \"+15550100..+15550199\"",
        ),
        (
            "[[did]]\nnumber = \"+15550001\"\nagent = \"echo\"\ntrunk = \"lab\"",
            ":13: did.agent: and did.trunk are both written; keep the one calls are to go to",
        ),
        (
            "[[did]]\nnumber = \"+15550001\"\nagent = \"echo\"\ncaller_id = \"+15550100\"",
            ":13: did.caller_id: is for calls to a trunk; remove it, or write trunk instead of agent",
        ),
        (
            "[[did]]\nnumber = \"+1555-0001\"\nagent = \"echo\"",
            ":14: did.number: \"+1555-0001\" is not a number in E.164; write \"+\", country code and number, 7 to 15 digits",
        ),
        (
            "[[did]]\nnumber = \"+15550009..+15550001\"\nagent = \"echo\"",
            ":14: did.number: \"+15550009..+15550001\" is empty; write \"+15550001..+15550009\"",
        ),
        (
            "[[did]]\nnumber = \"+15550001..+155500010\"\nagent = \"echo\"",
            ":14: did.number: \"+15550001..+155500010\" goes from one length to another; write a range for each length",
        ),
        (
            "[[did]]\nnumber = \"+15550001\"\nagent = \"ecko\"",
            ":15: did.agent: there is no agent \"ecko\"; did you mean \"echo\"?",
        ),
        (
            "[transfer]\ntrunk = \"inbound\"",
            ":14: transfer.trunk: trunk \"inbound\" has no proxy to send calls to; write proxy = \"HOST:PORT\" there",
        ),
        (
            "[transfer]\nringing = \"music\"",
            ":14: transfer.ringing: \"music\" is unknown; write \"agent\" or \"ringback\"",
        ),
        (
            "[transfer]\ncaller_id = \"mine\"",
            ":14: transfer.caller_id: \"mine\" is unknown; write \"caller\" or \"did\"",
        ),
        (
            "[transfer]\nby = \"magic\"",
            ":14: transfer.by: \"magic\" is unknown; write \"bridge\" or \"refer\"",
        ),
        (
            "[[trunk]]\nname = \"t\"\nproxy = \"h\"\ntransfer_by = \"hand\"",
            ":16: trunk.transfer_by: \"hand\" is unknown; write \"bridge\" or \"refer\"",
        ),
        (
            "[[trunk]]\nname = \"t\"\nproxy = \"h\"\nrefers = \"yes\"",
            ":16: trunk.refers: \"yes\" is unknown; write \"refuse\", \"routes\" or \"any\"",
        ),
        (
            "[[trunk]]\nname = \"t\"\nproxy = \"h\"\nreplaces = \"required\"",
            ":16: trunk.replaces: \"required\" is unknown; write \"off\" or \"supported\"",
        ),
        (
            "[[trunk]]\nname = \"t\"\nproxy = \"h\"\nrefer_progress = \"yes\"",
            ":16: trunk.refer_progress: \"yes\" is unknown; write \"notify\" or \"none\"",
        ),
        (
            "[[trunk]]\nname = \"t\"\nproxy = \"h\"\nrefer_unreported = \"no\"",
            ":16: trunk.refer_unreported: \"no\" is unknown; write \"hang_up\" or \"wait\"",
        ),
        (
            "[[agent]]\nname = \"b\"\nurl = \"builtin:echo\"\ntransfer_trunks = [\"lba\"]",
            ":16: agent.transfer_trunks: there is no trunk \"lba\"; there is \"lab\", \"inbound\"",
        ),
        (
            "[[did]]\nnumber = \"+15550001\"\ntrunk = \"carrier\"",
            ":15: did.trunk: there is no trunk \"carrier\"; there is \"lab\", \"inbound\"",
        ),
        (
            "[[did]]\nnumber = \"+15550001\"\ntrunk = \"inbound\"",
            ":15: did.trunk: trunk \"inbound\" has no proxy to send calls to; write proxy = \"HOST:PORT\" there",
        ),
        (
            "[[did]]\nnumber = \"+15550001\"\ntenant = \"dmeo\"\nagent = \"echo\"",
            ":15: did.tenant: there is no tenant \"dmeo\"; did you mean \"demo\"?",
        ),
        (
            "[[did]]\nnumber = \"+15550001\"\ntrunk = \"lab\"\ncaller_id = \"+15550199\"",
            ":16: did.caller_id: \"+15550199\" is not among the caller_ids of trunk \"lab\"; add it there, or write \"+15550100\"",
        ),
        (
            "[[did]]\nnumber = \"+15551000..+15551999\"\nagent = \"echo\"\n[[did]]\nnumber = \"+15551500\"\nagent = \"echo\"",
            ":17: did.number: \"+15551500\" overlaps \"+15551000..+15551999\" on line 14; a number has one destination",
        ),
        (
            "[[did]]\nnumber = \"+15551500\"\nagent = \"echo\"\n[[did]]\nnumber = \"+15551000..+15551999\"\nagent = \"echo\"",
            ":17: did.number: \"+15551000..+15551999\" overlaps \"+15551500\" on line 14; a number has one destination",
        ),
    ] {
        assert_eq!(
            errors(&format!("{NAMES}{text}")),
            format!("voxlane.toml{expected}"),
            "\n{text}"
        );
    }
}

#[test]
fn every_mistake_of_a_file_is_told_in_order_of_lines() {
    let text = "[[did]]\nnumber = \"1\"\nagent = \"ecko\"\n[sip]\nlisten = [\"5060\", \"udp:x\"]\nmax_cals = 5\n\
                [node]\nname = \"${NODE}\"\n[[agent]]\nname = \"echo\"\nurl = \"\"";
    assert_eq!(
        errors(text),
        "voxlane.toml:2: did.number: \"1\" is not a number in E.164; write \"+\", country code and number, 7 to 15 digits\n\
         voxlane.toml:3: did.agent: there is no agent \"ecko\"; did you mean \"echo\"?\n\
         voxlane.toml:5: sip.listen: \"5060\" is not an address; write \"udp:IP:PORT\"\n\
         voxlane.toml:5: sip.listen: \"udp:x\" is not an address; write \"udp:IP:PORT\"\n\
         voxlane.toml:6: sip.max_cals: unknown key; did you mean \"max_calls\"?\n\
         voxlane.toml:8: node.name: environment variable NODE is not set; set it, or write \"${NODE:-default}\"\n\
         voxlane.toml:11: agent.url: \"\" is not an agent URL; write \"ws://HOST[:PORT]/PATH\", \"wss://…\", \"audiosocket://HOST:PORT\", \
         \"builtin:echo\" or \"builtin:tone?hz=440\""
    );
}

#[test]
fn a_did_within_a_long_range_is_found_to_overlap_behind_a_short_one() {
    let text = format!(
        "{NAMES}[[did]]\nnumber = \"+15551000..+15551999\"\nagent = \"echo\"\n[[did]]\nnumber = \"+15551000\"\nagent = \
         \"echo\"\n[[did]]\nnumber = \"+15551500\"\nagent = \"echo\"\n[[did]]\nnumber = \"+15552000\"\nagent = \"echo\""
    );
    let errors = errors(&text);
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].starts_with("voxlane.toml:17: did.number: \"+15551000\" overlaps"),
        "{lines:?}"
    );
    assert!(
        lines[1].starts_with("voxlane.toml:20: did.number: \"+15551500\" overlaps"),
        "{lines:?}"
    );
}

#[test]
fn a_core_that_is_not_there() {
    let errors = errors("[media]\nworkers = \"4095\"");
    let expected = "voxlane.toml:2: media.workers: core 4095 is not there for this process; there is ";
    assert!(errors.starts_with(expected), "{errors}");
}

#[test]
fn an_unreadable_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("voxlane.toml");
    let error = Config::load(&path).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "{}: cannot be read: No such file or directory (os error 2)",
            path.display()
        )
    );
    std::fs::write(&path, b"name = \"\xff\"").unwrap();
    let error = Config::load(&path).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("{}: cannot be read: stream did not contain valid UTF-8", path.display())
    );
}

#[test]
fn a_port_for_sip_among_those_for_rtp_is_told_only_where_it_would_be_cut_off() {
    let listen = |address: &str| format!("[sip]\nlisten = [\"udp:{address}\"]\n[media]\n");
    for (address, media) in [
        ("0.0.0.0:15060", "unallocated = \"pass\""),
        ("0.0.0.0:15060", "xdp = \"off\""),
        ("0.0.0.0:15060", "ports = \"16000-17000\""),
        ("0.0.0.0:20001", ""),
        ("127.0.0.1:15060", ""),
        ("192.0.2.2:15060", "addresses = [\"192.0.2.1\"]"),
        ("[::]:15060", "addresses = [\"192.0.2.1\"]"),
    ] {
        assert_eq!(errors(&(listen(address) + media)), "", "{address} {media}");
    }
    for (address, media) in [
        ("127.0.0.1:15060", "interfaces = [\"lo\"]"),
        ("127.0.0.1:15060", "addresses = [\"127.0.0.1\"]"),
        ("0.0.0.0:15060", "addresses = [\"192.0.2.1\"]"),
        ("[::]:15060", "addresses = [\"2001:db8::1\"]"),
        ("192.0.2.2:15060", ""),
    ] {
        assert!(
            errors(&(listen(address) + media)).contains(":2: sip.listen: "),
            "{address} {media}"
        );
    }
}

/// Keys of a trunk on lines 3 and after, and what is wrong with them.
#[test]
fn logins_that_prove_nothing() {
    let names = "[[trunk]]\nname = \"t\"\n";
    for (keys, expected) in [
        (
            "proxy = \"a\"\nusername = \"u\"",
            ":1: trunk.password: is missing; write password = \"${NAME}\", password_file = \"PATH\" or ha1 = { MD5 = \"…\" }",
        ),
        (
            "proxy = \"a\"\npassword = \"s3cret\"",
            ":1: trunk.password: proves no username; write username = \"…\"",
        ),
        (
            "proxy = \"a\"\nusername = \"u\"\npassword = \"s3cret\"\npassword_file = \"/dev/null\"",
            ":1: trunk.password_file: is written beside trunk.password; keep one of them\n\
             voxlane.toml:6: trunk.password_file: what is in \"/dev/null\" is empty",
        ),
        (
            "proxy = \"a\"\nusername = \"u\"\npassword_file = \"/nowhere/s\"",
            ":5: trunk.password_file: \"/nowhere/s\" cannot be read: No such file or directory (os error 2)",
        ),
        (
            "proxy = \"a\"\nusername = \"a:b\"\npassword = \"s3cret\"",
            ":4: trunk.username: \"a:b\" has a colon, which no username has",
        ),
        (
            "proxy = \"a\"\nusername = \"u\"\npassword = \"s3cret\\n\"",
            ":5: trunk.password: has a line break or control character",
        ),
        (
            "proxy = \"a\"\nusername = \"u\"\nrealm = \"r\"\nha1 = { MD5 = \"s3cret\" }",
            ":6: trunk.ha1: of MD5 has not 32 hexadecimal digits",
        ),
        (
            "proxy = \"a\"\nusername = \"u\"\nha1 = { MD5 = \"00000000000000000000000000000000\" }",
            ":1: trunk.realm: is missing; ha1 is made with one: write the same realm = \"…\"",
        ),
        (
            "proxy = \"a\"\nusername = \"u\"\npassword = \"s3cret\"\nalgorithms = [\"SHA-1\"]",
            ":6: trunk.algorithms: \"SHA-1\" is not an algorithm; there is \"SHA-512-256\", \"SHA-256\", \"MD5\"",
        ),
        (
            "auth = \"digest\"",
            ":3: trunk.auth: asks for credentials; write username = \"…\" and a password",
        ),
        (
            "auth = \"sip\"\nproxy = \"a\"",
            ":3: trunk.auth: \"sip\" is none of \"ip\", \"digest\", \"all\", \"any\"",
        ),
        (
            "auth = \"all\"\nproxy = \"a\"\nusername = \"u\"\npassword = \"s3cret\"",
            ":3: trunk.auth: needs networks; write allow = [\"ADDRESS/PREFIX\"], or auth = \"digest\"",
        ),
        (
            "auth = \"digest\"\nallow = [\"::1\"]\nusername = \"u\"\npassword = \"s3cret\"",
            ":3: trunk.auth: is \"digest\", which takes calls from anywhere; write \"all\" to ask for trunk.allow, too, or \"any\" for either, or remove trunk.allow",
        ),
        (
            "auth = \"digest\"\nusername = \"u\"\npassword = \"a\"\n\
             [[trunk]]\nname = \"x\"\nauth = \"digest\"\nusername = \"u\"\npassword = \"b\"",
            ":6: trunk.username: \"u\" calls on trunk \"t\", too, in the same realm; a username names one trunk",
        ),
    ] {
        let found = errors(&format!("{names}{keys}"));
        assert_eq!(found, format!("voxlane.toml{expected}"), "{keys}");
        assert!(!found.contains("s3cret"), "{found}");
    }
}
