//! Configurations for the lab of [`crate::netns`].

use std::path::Path;

/// The echo agent.
pub const ECHO: &str = "+15550001";
/// The WebSocket agent.
pub const BOT: &str = "+15550003";
/// Relayed to the far side.
pub const RELAYED: &str = "+15551234";

/// Whether the kernel lane may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Xdp {
    /// As the gateway finds it.
    Auto,
    /// Not at all.
    Off,
}

/// A carrier, a far side, and a number for each kind of agent; `bot` is the WebSocket agent's URL.
pub fn lab(xdp: Xdp, bot: &str) -> String {
    let xdp = match xdp {
        Xdp::Auto => "auto",
        Xdp::Off => "off",
    };
    format!(
        r#"
[sip]
listen = ["udp:0.0.0.0:5060"]

[media]
xdp = "{xdp}"
# Tests run side by side: none may take over what another has pinned.
pin = "off"

[[trunk]]
name = "carrier"
allow = ["10.200.1.0/24"]
codecs = ["PCMU", "PCMA"]

[[trunk]]
name = "far"
allow = ["10.200.2.0/24"]
proxy = "10.200.2.2:5060"
codecs = ["PCMU", "PCMA"]

[[tenant]]
name = "demo"

[[agent]]
name = "echo"
url = "builtin:echo"

[[agent]]
name = "bot"
url = "{bot}"
connect_timeout = "4s"
silence_timeout = "4s"
parameters = {{ language = "en" }}

[[did]]
number = "{ECHO}"
tenant = "demo"
agent = "echo"

[[did]]
number = "{BOT}"
tenant = "demo"
agent = "bot"

[[did]]
number = "{RELAYED}"
tenant = "demo"
trunk = "far"
caller_id = "+15550100"
"#
    )
}

/// Relayed to the far side's IPv6 address, with [`dual_stack`].
pub const RELAYED_V6: &str = "+15551236";

/// [`lab`] for a lab with IPv6, which listens on both and has a far side at each of its addresses.
pub fn dual_stack(xdp: Xdp) -> String {
    let config = lab(xdp, NO_BOT);
    let config = config.replace(
        r#"listen = ["udp:0.0.0.0:5060"]"#,
        r#"listen = ["udp:0.0.0.0:5060", "udp:[::]:5060"]"#,
    );
    let config = config.replace(r#"["10.200.1.0/24"]"#, r#"["10.200.1.0/24", "2001:db8:1::/64"]"#);
    format!(
        r#"{config}
[[trunk]]
name = "far6"
allow = ["2001:db8:2::/64"]
proxy = "[2001:db8:2::2]:5060"
codecs = ["PCMU", "PCMA"]

[[did]]
number = "{RELAYED_V6}"
tenant = "demo"
trunk = "far6"
caller_id = "+15550100"
"#
    )
}

/// `config` with lines added below a line that it has.
///
/// # Panics
/// If it does not have it once.
pub fn below(config: &str, line: &str, added: &str) -> String {
    let line = format!("\n{line}\n");
    assert_eq!(config.matches(&line).count(), 1, "{line:?} in {config}");
    config.replace(&line, &format!("{line}{added}\n"))
}

/// [`lab`] with a kernel lane that outlives the gateway: pinned in this directory of a BPF file system.
pub fn pinned(bot: &str, pin: &Path) -> String {
    let pin = format!("pin = \"{}\"", pin.display());
    lab(Xdp::Auto, bot).replace("pin = \"off\"", &pin)
}

/// A URL for tests that call no WebSocket agent.
pub const NO_BOT: &str = "ws://127.0.0.1:9/media";
