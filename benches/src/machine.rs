//! Where figures come from: what of a machine they depend on, and nothing that tells whose it is.

use std::fs;
use std::num::NonZero;
use std::process::Command;
use std::thread;

use serde::{Deserialize, Serialize};

/// A machine and its tools.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// Its processor's name, else its architecture.
    pub processor: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Bytes.
    pub memory: Option<u64>,
    /// The kernel's release.
    pub kernel: Option<String>,
    /// The compiler's version.
    pub rustc: Option<String>,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let processor =
            field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let memory = memory.and_then(|memory| memory.strip_suffix(" kB")?.parse::<u64>().ok());
        let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
        let rustc = Command::new("rustc").arg("--version").output().ok();
        let rustc = rustc.filter(|output| output.status.success());
        Self {
            processor,
            cores: thread::available_parallelism().map_or(1, NonZero::get),
            memory: memory.map(|kilobytes| kilobytes << 10),
            kernel: Some(kernel).filter(|kernel| !kernel.is_empty()),
            rustc: rustc.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        }
    }

    /// In what another differs that counts of instructions depend on.
    pub fn difference(&self, other: &Self) -> Vec<String> {
        let differs = |what: &str, here: Option<&str>, there: Option<&str>| {
            let (Some(here), Some(there)) = (here, there) else {
                return None;
            };
            (here != there).then(|| format!("{what}: {there} then, {here} now"))
        };
        let differences = [
            differs("processor", Some(&self.processor), Some(&other.processor)),
            differs("kernel", self.kernel.as_deref(), other.kernel.as_deref()),
            differs("compiler", self.rustc.as_deref(), other.rustc.as_deref()),
        ];
        differences.into_iter().flatten().collect()
    }
}

/// The first value of a name in lines of `name : value`.
fn field(lines: &str, name: &str) -> Option<String> {
    let mut fields = lines.lines().filter_map(|line| line.split_once(':'));
    let found = fields.find(|(key, _)| key.trim() == name);
    found.map(|(_, value)| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_known_by_what_figures_depend_on() {
        let here = Machine::here();
        assert!(
            !here.processor.is_empty() && here.cores > 0 && here.kernel.is_some(),
            "{here:?}"
        );
        assert_eq!(here.difference(&here), Vec::<String>::new());
        let other = Machine {
            kernel: Some("5.15.0".to_owned()),
            rustc: None,
            ..here.clone()
        };
        assert_eq!(here.difference(&other).len(), 1);
        let cpuinfo = "processor\t: 0\nmodel name\t: Some: processor\nmodel name\t: another\n";
        assert_eq!(field(cpuinfo, "model name").as_deref(), Some("Some: processor"));
        assert_eq!(field("", "model name"), None);
    }
}
