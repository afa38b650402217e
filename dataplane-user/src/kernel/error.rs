//! Why there is no kernel lane, or why a call is not in it.

use std::io;

use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;

use crate::lane::Reason;
use crate::media_plane::InterfaceStatus;

/// Why the kernel lane cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The process may not load programs.
    #[error("no permission to {what}: run as root or grant CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW")]
    NoPermission {
        /// What was tried.
        what: &'static str,
    },
    /// The kernel lacks what the program needs.
    #[error("kernel {found} is too old: the XDP relay needs {needed} or later")]
    KernelTooOld {
        /// The running kernel's release.
        found: String,
        /// The oldest that will do.
        needed: &'static str,
    },
    /// The verifier refused the program.
    #[error("the kernel refused the XDP relay ({source}); the verifier's last words: {log}")]
    Verifier {
        /// What the system call said.
        source: io::Error,
        /// The end of the verifier's log.
        log: String,
    },
    /// No interface could be attached.
    #[error("the XDP relay could not be attached to any interface: {}", summary(.0))]
    NotAttached(Vec<InterfaceStatus>),
    /// More local addresses than the flow table has room for.
    #[error("{0} cannot be served by the XDP relay: it is no unicast address, or 8 others are served already")]
    Address(std::net::IpAddr),
    /// A port range without ports.
    #[error("the RTP port range {first}-{last} is empty")]
    Ports {
        /// First port.
        first: u16,
        /// Last port.
        last: u16,
    },
    /// The embedded object is not what this code expects.
    #[error("the embedded XDP object is damaged: {0}: build again")]
    Object(String),
    /// Something could not be pinned, or unpinned.
    #[error("cannot pin the kernel lane at {}: {source}", path.display())]
    Pin {
        /// Where.
        path: std::path::PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has what is pinned.
    #[error(
        "{} is another gateway's that is running: stop it, or give each gateway its own node.name or media.pin",
        .0.display()
    )]
    InUse(std::path::PathBuf),
    /// A system call failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

fn summary(interfaces: &[InterfaceStatus]) -> String {
    if interfaces.is_empty() {
        return "none is configured (media.interfaces)".to_owned();
    }
    let rows = interfaces
        .iter()
        .map(|row| format!("{}: {}", row.name, row.detail.as_deref().unwrap_or("not attached")));
    rows.collect::<Vec<_>>().join("; ")
}

impl KernelError {
    /// A system call failed while trying to `what`.
    pub(super) fn io(what: &'static str, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::NoPermission { what },
            _ => Self::Io { what, source },
        }
    }
}

impl From<EbpfError> for KernelError {
    fn from(error: EbpfError) -> Self {
        match error {
            EbpfError::MapError(error) => error.into(),
            EbpfError::ProgramError(error) => error.into(),
            other => Self::Object(other.to_string()),
        }
    }
}

impl From<MapError> for KernelError {
    fn from(error: MapError) -> Self {
        match error {
            MapError::CreateError { io_error, .. } => Self::io("create an eBPF map", io_error),
            MapError::SyscallError(error) => Self::io("use an eBPF map", error.io_error),
            other => Self::Object(other.to_string()),
        }
    }
}

impl From<ProgramError> for KernelError {
    fn from(error: ProgramError) -> Self {
        match error {
            // Missing capabilities leave no verifier log.
            ProgramError::LoadError { io_error, verifier_log } => {
                let log = verifier_log.to_string();
                match io_error.raw_os_error() {
                    Some(libc::EPERM) if log.trim().is_empty() => Self::NoPermission {
                        what: "load the XDP relay",
                    },
                    _ => Self::Verifier {
                        source: io_error,
                        log: last_lines(&log),
                    },
                }
            }
            ProgramError::SyscallError(error) => Self::io("run the XDP relay", error.io_error),
            ProgramError::MapError(error) => error.into(),
            other => Self::Object(other.to_string()),
        }
    }
}

/// The last lines of a verifier log: the failing instruction and why.
fn last_lines(log: &str) -> String {
    let told = |line: &&str| !line.trim().is_empty() && !line.contains("verification time");
    let lines: Vec<&str> = log.lines().filter(told).collect();
    lines[lines.len().saturating_sub(5)..].join("\n | ")
}

/// Why two legs cannot be relayed in the kernel lane.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    /// For `voxlane flows` and the metric.
    pub reason: Reason,
    /// For the log.
    pub detail: String,
}

impl Refusal {
    pub(super) fn new(reason: Reason, detail: String) -> Self {
        Self { reason, detail }
    }
}
