//! A report against one of another day: what has become worse.
//!
//! Times of two days are not compared: the machine has a share in them. What is compared, by the rows' names:
//! * instructions: 1 % more is a regression. Counted twice, they differ by a tenth of that at most;
//! * calls and atomic operations: one more is. They are whole, but for what comes once in many packets;
//! * ratios to something that was measured in the same run: 15 % worse, by the direction of the row's goal. Good and bad runs of
//!   the same code are that far apart on a shared machine. A ratio without a goal has no better and worse.
//!
//! A row that is missing in either is no regression, but is named.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::machine::Machine;
use crate::report::{AT_LEAST, AT_MOST, ATOMICS, CALLS, INSTRUCTIONS};

/// How many times as many instructions are still as good.
const INSTRUCTIONS_MORE: f64 = 1.01;

/// How many more of what is counted one by one are still as good.
const COUNTS_MORE: f64 = 0.5;

/// How many times as bad a ratio is still as good.
const RATIO_WORSE: f64 = 1.15;

/// A report, as it stands in a file for machines. Older ones have no machine, and rows no direction.
#[derive(Deserialize)]
struct Figures {
    #[serde(default)]
    machine: Option<Machine>,
    results: Vec<Figure>,
}

/// A row, as far as it is compared.
#[derive(Clone, Deserialize)]
struct Figure {
    name: String,
    value: f64,
    unit: String,
    ratio: Option<f64>,
    #[serde(default)]
    direction: String,
}

/// What is compared of a row.
#[derive(Clone, Copy, PartialEq)]
enum Subject {
    Instructions(f64),
    Count(f64),
    /// Less is better.
    Low(f64),
    /// More is better.
    High(f64),
}

impl Figure {
    fn subject(&self) -> Option<Subject> {
        match (self.unit.as_str(), self.ratio, self.direction.as_str()) {
            (INSTRUCTIONS, ..) => Some(Subject::Instructions(self.value)),
            (CALLS | ATOMICS, ..) => Some(Subject::Count(self.value)),
            (_, Some(ratio), AT_MOST) => Some(Subject::Low(ratio)),
            (_, Some(ratio), AT_LEAST) => Some(Subject::High(ratio)),
            _ => None,
        }
    }
}

impl Subject {
    fn value(self) -> f64 {
        match self {
            Self::Instructions(value) | Self::Count(value) | Self::Low(value) | Self::High(value) => value,
        }
    }

    /// What it may be today, compared with `then`.
    fn limit(self, then: f64) -> f64 {
        match self {
            Self::Instructions(_) => then * INSTRUCTIONS_MORE,
            Self::Count(_) => then + COUNTS_MORE,
            Self::Low(_) => then * RATIO_WORSE,
            Self::High(_) => then / RATIO_WORSE,
        }
    }

    fn is_worse_than(self, then: f64) -> bool {
        let limit = self.limit(then);
        match self {
            Self::High(now) => now < limit,
            Self::Instructions(now) | Self::Count(now) | Self::Low(now) => now > limit,
        }
    }
}

/// What came of comparing.
#[derive(Debug, PartialEq, Eq)]
pub struct Comparison {
    /// For people.
    pub table: String,
    /// The names of rows that have become worse.
    pub regressions: Vec<String>,
}

/// Compares a report with the one in a file, and prints how.
///
/// # Errors
/// If a row has become worse, or the file is no report.
pub fn require_none(report: &Value, baseline: &Path) -> Result<()> {
    let text = fs::read_to_string(baseline);
    let text = text.with_context(|| format!("--against: cannot read {}", baseline.display()))?;
    let then: Value = serde_json::from_str(&text).with_context(|| format!("{} is no report", baseline.display()))?;
    let Comparison { table, regressions } = compare(report, &then)?;
    println!("\nagainst {}\n{table}", baseline.display());
    let count = regressions.len();
    ensure!(
        regressions.is_empty(),
        "worse than {}: {count} figures, see above",
        baseline.display()
    );
    Ok(())
}

/// Compares a report with an earlier one.
///
/// # Errors
/// If either is no report.
pub fn compare(now: &Value, then: &Value) -> Result<Comparison> {
    let figures = |report: &Value| Figures::deserialize(report).context("a report without figures");
    let (now, then) = (figures(now)?, figures(then)?);
    let find = |figures: &[Figure], name: &str| figures.iter().find(|figure| figure.name == name).cloned();
    let width = now.results.iter().map(|figure| figure.name.chars().count()).max();
    let width = width.unwrap_or_default();
    let (mut table, mut regressions) = (String::new(), Vec::new());
    if let (Some(here), Some(there)) = (&now.machine, &then.machine) {
        for difference in here.difference(there) {
            writeln!(table, "note: not the same {difference}")?;
        }
    }
    let (title, value, change) = ("", "value", "change");
    writeln!(table, "{title:<width$} {:>10} {value:>10} {change:>8}", "then")?;
    for figure in &now.results {
        let earlier = find(&then.results, &figure.name);
        let subjects = (figure.subject(), earlier.as_ref().and_then(Figure::subject));
        let (Some(subject), Some(earlier)) = subjects else {
            continue;
        };
        let (value, earlier) = (subject.value(), earlier.value());
        let verdict = if subject.is_worse_than(earlier) {
            regressions.push(figure.name.clone());
            "  WORSE"
        } else {
            ""
        };
        let change = match earlier {
            0.0 => String::new(),
            earlier => format!("{:+.2} %", (value / earlier - 1.0) * 100.0),
        };
        let name = &figure.name;
        writeln!(
            table,
            "{name:<width$} {earlier:>10.2} {value:>10.2} {change:>8}{verdict}"
        )?;
    }
    for (whose, figures, others) in [
        ("not there any more", &then.results, &now.results),
        ("new", &now.results, &then.results),
    ] {
        for figure in figures.iter().filter(|figure| find(others, &figure.name).is_none()) {
            writeln!(table, "{whose}: {}", figure.name)?;
        }
    }
    Ok(Comparison { table, regressions })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(name: &str, value: f64, unit: &str) -> Value {
        json!({"name": name, "value": value, "unit": unit, "ratio": null, "direction": ""})
    }

    fn ratio(name: &str, ratio: f64, direction: &str) -> Value {
        json!({"name": name, "value": 100.0 * ratio, "unit": "ns", "ratio": ratio, "direction": direction})
    }

    fn regressions(now: &[Value], then: &[Value]) -> Vec<String> {
        let report = |rows: &[Value]| json!({"results": rows});
        compare(&report(now), &report(then)).unwrap().regressions
    }

    #[test]
    fn one_percent_more_instructions_is_a_regression() {
        let then = [row("relay", 2000.0, "insn")];
        for (now, found) in [(1000.0, false), (2000.0, false), (2019.0, false), (2021.0, true)] {
            let found_now = regressions(&[row("relay", now, "insn")], &then);
            assert_eq!(!found_now.is_empty(), found, "{now}");
        }
    }

    #[test]
    fn one_more_of_what_is_counted_one_by_one_is_a_regression() {
        for unit in ["calls", "atomics"] {
            let then = [row("relay", 0.0, unit)];
            assert!(regressions(&[row("relay", 0.4, unit)], &then).is_empty());
            assert_eq!(regressions(&[row("relay", 1.0, unit)], &then), ["relay"]);
            // It does not hide in many.
            assert_eq!(
                regressions(&[row("many", 301.0, unit)], &[row("many", 300.0, unit)]),
                ["many"]
            );
        }
    }

    #[test]
    fn a_ratio_becomes_worse_in_the_direction_of_its_goal() {
        for (direction, now, found) in [
            ("<=", 1.2, true),
            ("<=", 1.1, false),
            ("<=", 0.5, false),
            (">=", 0.8, true),
            (">=", 0.9, false),
            (">=", 2.0, false),
            ("", 9.0, false),
        ] {
            let found_now = regressions(&[ratio("codec", now, direction)], &[ratio("codec", 1.0, direction)]);
            assert_eq!(!found_now.is_empty(), found, "{direction} {now}");
        }
    }

    #[test]
    fn times_are_not_compared() {
        let then = [row("relay", 30.0, "ns"), row("calls", 900.0, "1/s")];
        let now = [row("relay", 90.0, "ns"), row("calls", 300.0, "1/s")];
        assert!(regressions(&now, &then).is_empty());
    }

    #[test]
    fn what_is_missing_is_named() {
        let then = json!({"results": [row("gone", 5.0, "insn"), row("same", 5.0, "insn")]});
        let now = json!({"results": [row("fresh", 9.0, "insn"), row("same", 5.0, "insn")]});
        let Comparison { table, regressions } = compare(&now, &then).unwrap();
        assert!(regressions.is_empty());
        assert!(
            table.contains("not there any more: gone\n") && table.contains("new: fresh\n"),
            "{table}"
        );
        assert!(!table.contains(": same"), "{table}");
    }

    #[test]
    fn what_counts_depend_on_is_told_where_it_differs() {
        let with = |rustc: &str| {
            let machine = json!({"processor": "p", "cores": 2, "memory": null, "kernel": "6.1", "rustc": rustc});
            json!({"machine": machine, "results": []})
        };
        let same = compare(&with("rustc 1"), &with("rustc 1")).unwrap();
        assert!(!same.table.contains("note"), "{}", same.table);
        let other = compare(&with("rustc 2"), &with("rustc 1")).unwrap();
        assert!(
            other
                .table
                .starts_with("note: not the same compiler: rustc 1 then, rustc 2 now\n"),
            "{}",
            other.table
        );
    }

    #[test]
    fn what_is_no_report_is_refused() {
        let report = json!({"results": []});
        for wrong in [json!({}), json!([]), json!({"results": [{"name": "relay"}]})] {
            assert!(compare(&report, &wrong).is_err(), "{wrong}");
        }
    }
}
