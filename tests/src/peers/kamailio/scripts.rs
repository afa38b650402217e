//! What kamailio is told to do with requests.

use std::net::SocketAddr;
use std::path::Path;

use super::{Nonces, PASSWORD, REALM, USERNAME};

/// Modules that every script has.
const MODULES: [&str; 8] = ["tm", "sl", "rr", "pv", "maxfwd", "textops", "siputils", "xlog"];

/// What comes first: one process over UDP, with these modules beside [`MODULES`].
fn preamble(listen: SocketAddr, own: &[&str]) -> String {
    let modules = MODULES.iter().chain(own);
    let modules: String = modules.map(|module| format!("loadmodule \"{module}.so\"\n")).collect();
    format!(
        r#"#!KAMAILIO
debug = 1
log_stderror = yes
children = 1
disable_tcp = yes
auto_aliases = no
listen = udp:{listen}

{modules}"#
    )
}

pub(super) fn challenging(listen: SocketAddr, next: SocketAddr, algorithm: &str, nonces: Nonces) -> String {
    let algorithm = match algorithm {
        // MD5 is what it does where nothing is said.
        "MD5" => String::new(),
        other => format!("modparam(\"auth\", \"algorithm\", \"{other}\")\n"),
    };
    let nonces = match nonces {
        Nonces::Counted => "modparam(\"auth\", \"nonce_count\", 1)",
        Nonces::OneTime => "modparam(\"auth\", \"one_time_nonce\", 1)",
    };
    let preamble = preamble(listen, &["auth"]);
    format!(
        r#"{preamble}modparam("auth", "qop", "auth")
{nonces}
{algorithm}
request_route {{
    if (!mf_process_maxfwd_header("10")) {{
        sl_send_reply("483", "Too Many Hops");
        exit;
    }}
    if (is_method("ACK")) {{
        if (has_totag() && loose_route()) {{
            t_relay();
        }} else if (t_check_trans()) {{
            t_relay();
        }}
        exit;
    }}
    if (is_method("CANCEL")) {{
        if (t_check_trans()) {{
            t_relay();
        }}
        exit;
    }}
    t_check_trans();
    # Only what comes from the gateway has to prove itself: what comes back does not.
    if ($si != "{next}") {{
        if (!pv_proxy_authenticate("{REALM}", "{PASSWORD}", "0") || $au != "{USERNAME}") {{
            xlog("L_ERR", "challenged $rm\n");
            proxy_challenge("{REALM}", "1");
            exit;
        }}
        xlog("L_ERR", "admitted $rm\n");
        consume_credentials();
    }}
    if (has_totag()) {{
        if (!loose_route()) {{
            sl_send_reply("404", "Not Here");
            exit;
        }}
        t_relay();
        exit;
    }}
    record_route();
    $du = "sip:{next}";
    t_relay();
}}
"#
    )
}

pub(super) fn registering(listen: SocketAddr, number: &str) -> String {
    let preamble = preamble(listen, &["auth", "usrloc", "registrar"]);
    format!(
        r#"{preamble}modparam("auth", "qop", "auth")
modparam("registrar", "min_expires", 1)
modparam("registrar", "max_expires", 7)

request_route {{
    if (is_method("REGISTER")) {{
        if (!pv_www_authenticate("{REALM}", "{PASSWORD}", "0") || $au != "{USERNAME}" || $tU != "{number}") {{
            xlog("L_ERR", "challenged $rm\n");
            www_challenge("{REALM}", "1");
            exit;
        }}
        xlog("L_ERR", "registered for $hdr(Expires)\n");
        save("location");
        exit;
    }}
    if (is_method("CANCEL")) {{
        if (t_check_trans()) {{
            t_relay();
        }}
        exit;
    }}
    t_check_trans();
    # The caller sends what follows to us, too.
    $rU = "{number}";
    if (!lookup("location")) {{
        sl_send_reply("480", "Not Registered");
        exit;
    }}
    t_relay();
}}
"#
    )
}

pub(super) fn authenticating(listen: SocketAddr, gateway: SocketAddr, (username, password): (&str, &str)) -> String {
    let realm = gateway.ip();
    let preamble = preamble(listen, &["uac"]);
    format!(
        r#"{preamble}modparam("uac", "credential", "{username}:{realm}:{password}")
modparam("uac", "restore_mode", "none")

request_route {{
    $ru = "sip:" + $rU + "@{gateway}";
    if (is_method("INVITE")) {{
        t_on_failure("ANSWER");
    }}
    t_relay();
}}

failure_route[ANSWER] {{
    if (t_check_status("401|407") && uac_auth()) {{
        t_relay();
    }}
}}
"#
    )
}

pub(super) fn dispatching(listen: SocketAddr, list: &Path) -> String {
    let list = list.display();
    let preamble = preamble(listen, &["dispatcher"]);
    format!(
        r#"{preamble}modparam("tm", "fr_timer", 1000)
modparam("dispatcher", "list_file", "{list}")
# With what else could be tried.
modparam("dispatcher", "flags", 2)

request_route {{
    if (!mf_process_maxfwd_header("10")) {{
        sl_send_reply("483", "Too Many Hops");
        exit;
    }}
    if (is_method("CANCEL")) {{
        if (t_check_trans()) {{
            t_relay();
        }}
        exit;
    }}
    if (has_totag() && loose_route()) {{
        xlog("L_ERR", "routed $rm from $si:$sp\n");
        t_relay();
        exit;
    }}
    if (is_method("ACK")) {{
        t_check_trans();
        exit;
    }}
    t_check_trans();
    record_route();
    if (!ds_select_dst("1", "8")) {{
        sl_send_reply("503", "No Gateway");
        exit;
    }}
    t_on_failure("NEXT");
    t_relay();
}}

failure_route[NEXT] {{
    if (t_is_canceled() || !t_check_status("408|503")) {{
        exit;
    }}
    xlog("L_ERR", "failed $du\n");
    if (ds_next_dst()) {{
        t_on_failure("NEXT");
        t_relay();
        exit;
    }}
    t_reply("503", "No Gateway Left");
}}
"#
    )
}
