//! kamailio: a carrier's proxy in front of whoever answers.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

use crate::netns::Place;
use crate::process::Process;

/// The username that it asks for.
pub const USERNAME: &str = "acme";
/// Its password.
pub const PASSWORD: &str = "s3cret";
/// The realm.
pub const REALM: &str = "carrier.example";

/// How it takes nonces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nonces {
    /// Again and again, with counts that go up.
    Counted,
    /// Once; and it does not say that they are stale then.
    OneTime,
}

/// A proxy at port 5060. Dropping it ends it.
#[derive(Debug)]
pub struct Kamailio {
    process: Process,
    _directory: TempDir,
}

impl Kamailio {
    /// A proxy at `local` that stays in the way of calls (Record-Route), challenges every INVITE and BYE with 407, and sends
    /// what is good on to `next`. `algorithm` is `MD5` or `SHA-256`.
    ///
    /// # Errors
    /// If it does not listen.
    pub fn challenging(
        place: &Place,
        local: IpAddr,
        next: SocketAddr,
        algorithm: &str,
        nonces: Nonces,
    ) -> Result<Self> {
        let listen = SocketAddr::new(local, 5060);
        Self::start(place, listen, |_| Ok(challenging(listen, next, algorithm, nonces)))
    }

    /// A proxy at `local` that sends all to `gateway`, and proves itself with username and password where that asks.
    ///
    /// # Errors
    /// If it does not listen.
    pub fn authenticating(place: &Place, local: IpAddr, gateway: SocketAddr, login: (&str, &str)) -> Result<Self> {
        let listen = SocketAddr::new(local, 5060);
        Self::start(place, listen, |_| Ok(authenticating(listen, gateway, login)))
    }

    /// A proxy at `listen` that stays in the way of calls, and sends each to the first of these that takes it: to the next where
    /// one says 503, or nothing for a second; where none is left it says 503 itself.
    ///
    /// # Errors
    /// If it does not listen.
    pub fn dispatching(place: &Place, listen: SocketAddr, to: &[SocketAddr]) -> Result<Self> {
        Self::start(place, listen, |directory| {
            // The highest priority is the first that is tried.
            let lines = to.iter().rev().zip(1..);
            let lines = lines.map(|(to, priority)| format!("1 sip:{to} 0 {priority}\n"));
            let list = directory.join("dispatcher.list");
            fs::write(&list, lines.collect::<String>())?;
            Ok(dispatching(listen, &list))
        })
    }

    /// A registrar at `local` for `number`, which asks for username and password, grants seven seconds, and sends calls
    /// for whatever number to where that one is registered.
    ///
    /// # Errors
    /// If it does not listen.
    pub fn registering(place: &Place, local: IpAddr, number: &str) -> Result<Self> {
        let listen = SocketAddr::new(local, 5060);
        Self::start(place, listen, |_| Ok(registering(listen, number)))
    }

    fn start(place: &Place, listen: SocketAddr, text: impl FnOnce(&Path) -> Result<String>) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let config = directory.path().join("kamailio.cfg");
        fs::write(&config, text(directory.path())?)?;
        let mut command = place.command("kamailio");
        // In the foreground, with its log on standard error and its sockets in a directory of its own.
        command.args(["-DD", "-E", "-m", "16", "-M", "4"]);
        command.arg("-f").arg(&config).arg("-Y").arg(directory.path());
        let mut process = Process::start("kamailio", &mut command)?;
        let place = place.clone();
        let port = format!(":{:04X} ", listen.port());
        process.poll("kamailio to listen", Duration::from_secs(10), |_| {
            let sockets = place.command("cat").arg("/proc/net/udp").output();
            sockets.is_ok_and(|sockets| String::from_utf8_lossy(&sockets.stdout).contains(&port))
        })?;
        Ok(Self {
            process,
            _directory: directory,
        })
    }

    /// What it has logged: a line for each challenge and each request that was let through; where it dispatches, for each
    /// request and each failure.
    pub fn log(&self) -> String {
        self.process.stderr()
    }
}

fn challenging(listen: SocketAddr, next: SocketAddr, algorithm: &str, nonces: Nonces) -> String {
    let algorithm = match algorithm {
        // MD5 is what it does where nothing is said.
        "MD5" => String::new(),
        other => format!("modparam(\"auth\", \"algorithm\", \"{other}\")\n"),
    };
    let nonces = match nonces {
        Nonces::Counted => "modparam(\"auth\", \"nonce_count\", 1)",
        Nonces::OneTime => "modparam(\"auth\", \"one_time_nonce\", 1)",
    };
    format!(
        r#"#!KAMAILIO
debug = 1
log_stderror = yes
children = 1
disable_tcp = yes
auto_aliases = no
listen = udp:{listen}

loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "xlog.so"
loadmodule "auth.so"
modparam("auth", "qop", "auth")
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

fn registering(listen: SocketAddr, number: &str) -> String {
    format!(
        r#"#!KAMAILIO
debug = 1
log_stderror = yes
children = 1
disable_tcp = yes
auto_aliases = no
listen = udp:{listen}

loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "xlog.so"
loadmodule "auth.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
modparam("auth", "qop", "auth")
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

fn authenticating(listen: SocketAddr, gateway: SocketAddr, (username, password): (&str, &str)) -> String {
    let realm = gateway.ip();
    format!(
        r#"#!KAMAILIO
debug = 1
log_stderror = yes
children = 1
disable_tcp = yes
auto_aliases = no
listen = udp:{listen}

loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "uac.so"
modparam("uac", "credential", "{username}:{realm}:{password}")
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

fn dispatching(listen: SocketAddr, list: &Path) -> String {
    let list = list.display();
    format!(
        r#"#!KAMAILIO
debug = 1
log_stderror = yes
children = 1
disable_tcp = yes
auto_aliases = no
listen = udp:{listen}

loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "xlog.so"
loadmodule "dispatcher.so"
modparam("tm", "fr_timer", 1000)
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
