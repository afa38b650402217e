//! kamailio: a carrier's proxy in front of whoever answers.

use std::fs;
use std::net::{IpAddr, SocketAddr};
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
        Self::start(place, &challenging(local, next, algorithm, nonces))
    }

    /// A proxy at `local` that sends all to `gateway`, and proves itself with username and password where that asks.
    ///
    /// # Errors
    /// If it does not listen.
    pub fn authenticating(place: &Place, local: IpAddr, gateway: SocketAddr, login: (&str, &str)) -> Result<Self> {
        Self::start(place, &authenticating(local, gateway, login))
    }

    fn start(place: &Place, text: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let config = directory.path().join("kamailio.cfg");
        fs::write(&config, text)?;
        let mut command = place.command("kamailio");
        // In the foreground, with its log on standard error and its sockets in a directory of its own.
        command.args(["-DD", "-E", "-m", "16", "-M", "4"]);
        command.arg("-f").arg(&config).arg("-Y").arg(directory.path());
        let mut process = Process::start("kamailio", &mut command)?;
        let place = place.clone();
        process.poll("kamailio to listen", Duration::from_secs(10), |_| {
            let sockets = place.command("cat").arg("/proc/net/udp").output();
            // Port 5060 in hexadecimal.
            sockets.is_ok_and(|sockets| String::from_utf8_lossy(&sockets.stdout).contains(":13C4 "))
        })?;
        Ok(Self {
            process,
            _directory: directory,
        })
    }

    /// What it has logged: a line for each challenge and each request that was let through.
    pub fn log(&self) -> String {
        self.process.stderr()
    }
}

fn challenging(local: IpAddr, next: SocketAddr, algorithm: &str, nonces: Nonces) -> String {
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
listen = udp:{local}:5060

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

fn authenticating(local: IpAddr, gateway: SocketAddr, (username, password): (&str, &str)) -> String {
    let realm = gateway.ip();
    format!(
        r#"#!KAMAILIO
debug = 1
log_stderror = yes
children = 1
disable_tcp = yes
auto_aliases = no
listen = udp:{local}:5060

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
