//! Instructions counted by valgrind, which runs a program on a processor of its own making: what else the machine does counts
//! for nothing.
//!
//! A case is run twice, the second time with twice as many packets: the difference is what the packets have cost, without what
//! it took to begin. That needs no symbols, and no help of the program.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::report::{ATOMICS, INSTRUCTIONS, Row};

/// Tells the program which case it is to run, and on how many packets.
const CASE: &str = "VOXLANE_COUNTED_CASE";
const PACKETS: &str = "VOXLANE_COUNTED_PACKETS";

/// Keeps the C library from filling and copying by instructions that repeat themselves, each time of which would count for one.
const PLAIN_COPIES: (&str, &str) = (
    "GLIBC_TUNABLES",
    "glibc.cpu.x86_rep_stosb_threshold=1073741824:glibc.cpu.x86_rep_movsb_threshold=1073741824",
);

/// Packets of the first run. As many more of the second are counted: what comes once in hundreds of packets (a report, more
/// random numbers) comes often enough.
const MANY: u32 = 4000;

/// What a packet costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Instructions of user space; what the system does for it is not seen.
    pub instructions: f64,
    /// Those of them that the other cores must stand back for. A lock is two.
    pub atomics: f64,
}

impl Cost {
    /// It, as rows of a report.
    pub fn rows(self, of: &str) -> [Row; 2] {
        [
            Row::new(format!("{of}: instructions"), self.instructions, INSTRUCTIONS),
            Row::new(format!("{of}: atomic operations"), self.atomics, ATOMICS),
        ]
    }
}

/// What this process was started for, if it was to be counted: a case, and on how many packets.
///
/// # Errors
/// If the number is none.
pub fn case_of_this_process() -> Result<Option<(String, u32)>> {
    let Ok(case) = env::var(CASE) else {
        return Ok(None);
    };
    let packets = env::var(PACKETS).ok().and_then(|packets| packets.parse().ok());
    Ok(Some((case, packets.context("a number of packets is wanted")?)))
}

/// Counts a case of `program`, which is to run it when [`case_of_this_process`] says so.
///
/// # Errors
/// If valgrind is missing, or the case fails.
pub fn count(program: &Path, arguments: &[&str], case: &str) -> Result<Cost> {
    let run = |packets| run(program, arguments, case, packets);
    let (once, twice) = thread::scope(|scope| {
        let once = scope.spawn(|| run(MANY));
        let twice = run(2 * MANY);
        (once.join(), twice)
    });
    let once = once.map_err(|_| anyhow!("a count has panicked"))??;
    let twice = twice?;
    let each = |sum: fn(&Sums) -> u64| (sum(&twice) as f64 - sum(&once) as f64) / f64::from(MANY);
    Ok(Cost {
        instructions: each(|sums| sums.instructions),
        atomics: each(|sums| sums.atomics),
    })
}

/// What a run has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sums {
    instructions: u64,
    atomics: u64,
}

fn run(program: &Path, arguments: &[&str], case: &str, packets: u32) -> Result<Sums> {
    let name: String = case.chars().filter(char::is_ascii_alphanumeric).collect();
    let file = env::temp_dir().join(format!("voxlane-counted-{}-{name}-{packets}", std::process::id()));
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--collect-bus=yes", "--quiet"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .args(arguments)
        .env(PLAIN_COPIES.0, PLAIN_COPIES.1)
        .env(CASE, case)
        .env(PACKETS, packets.to_string());
    let ended = valgrind
        .output()
        .context("valgrind is missing: apt-get install valgrind")?;
    let profile = fs::read_to_string(&file);
    // It may not have been written.
    let _ = fs::remove_file(&file);
    if !ended.status.success() {
        let said = [ended.stdout, ended.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        bail!("{case}: {}: {}", ended.status, said.concat().trim());
    }
    sums(&profile.context("valgrind has counted nothing")?)
}

/// The sums at the end of what callgrind writes.
fn sums(profile: &str) -> Result<Sums> {
    let line = |key: &str| profile.lines().find_map(|line| line.strip_prefix(key));
    let events = line("events:").context("callgrind does not say what it has counted")?;
    let totals = line("totals:").context("callgrind gives no sums")?;
    let numbers: Vec<u64> = totals
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .context("sums are numbers")?;
    let of = |event: &str| {
        let place = events.split_whitespace().position(|name| name == event);
        // Zeros at the end are left out.
        place.map(|place| numbers.get(place).copied().unwrap_or(0))
    };
    let instructions = of("Ir").context("callgrind has not counted instructions")?;
    ensure!(instructions > 0, "nothing has run");
    Ok(Sums {
        instructions,
        atomics: of("Ge").context("callgrind has not counted atomic operations")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_found_by_the_names_of_events() {
        let profile = "version: 1\nevents: Ir Ge\nfn=(1) main\n1 5\nsummary: 5 0\ntotals: 305 12\n";
        let sums_of = |profile| sums(profile).unwrap();
        assert_eq!(
            sums_of(profile),
            Sums {
                instructions: 305,
                atomics: 12
            }
        );
        let without = "events: Ge Ir\ntotals: 0 305\n";
        assert_eq!(
            sums_of(without),
            Sums {
                instructions: 305,
                atomics: 0
            }
        );
        assert_eq!(
            sums_of("events: Ir Ge\ntotals: 305\n"),
            Sums {
                instructions: 305,
                atomics: 0
            }
        );
        for wrong in [
            "",
            "events: Ir\ntotals: 5\n",
            "events: Ir Ge\n",
            "events: Ir Ge\ntotals: 0 0\n",
        ] {
            assert!(sums(wrong).is_err(), "{wrong}");
        }
    }
}
