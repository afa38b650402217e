//! What a benchmark has to say: one row a figure, as a table for people and as JSON for machines.
//!
//! ```json
//! {"results":[{"name":"…","value":71.0,"unit":"ns","against":39.0,"ratio":1.82,"goal":2.0,"met":true}]}
//! ```
//!
//! A row may have a peer measured beside it in the same run (`against`, in the same unit); then the goal is one for the
//! ratio, else one for the value. Rows without a goal explain the others.

use std::fs;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::Value;

use crate::arguments::Arguments;
use crate::chart::Chart;
use crate::page;

/// What a figure has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// This much or less.
    AtMost(f64),
    /// This much or more.
    AtLeast(f64),
}

impl Goal {
    fn bound(self) -> f64 {
        match self {
            Self::AtMost(bound) | Self::AtLeast(bound) => bound,
        }
    }

    fn is_met_by(self, figure: f64) -> bool {
        match self {
            Self::AtMost(bound) => figure <= bound,
            Self::AtLeast(bound) => figure >= bound,
        }
    }
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    /// The peer's figure, in the same unit.
    against: Option<f64>,
    /// Value by peer's figure.
    ratio: Option<f64>,
    goal: Option<f64>,
    met: Option<bool>,
    /// Which way the goal is meant, for people.
    #[serde(skip)]
    direction: &'static str,
}

impl Row {
    /// A figure by itself.
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self {
            name: name.into(),
            value,
            unit,
            against: None,
            ratio: None,
            goal: None,
            met: None,
            direction: "",
        }
    }

    /// Beside a peer's figure in the same unit.
    pub fn against(self, peer: f64) -> Self {
        Self {
            against: Some(peer),
            ratio: Some(self.value / peer),
            ..self
        }
    }

    /// With what its ratio, or else its value, has to be.
    pub fn goal(self, goal: Goal) -> Self {
        Self {
            goal: Some(goal.bound()),
            met: Some(goal.is_met_by(self.ratio.unwrap_or(self.value))),
            direction: match goal {
                Goal::AtMost(_) => "<=",
                Goal::AtLeast(_) => ">=",
            },
            ..self
        }
    }

    /// Whatever its figure, the goal is not met if something else went wrong while it was measured.
    pub fn only_if(self, holds: bool) -> Self {
        Self {
            met: self.met.map(|met| met && holds),
            ..self
        }
    }

    fn line(&self, name_width: usize) -> String {
        let number = |value: Option<f64>, digits| value.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
        let goal = self.goal.map_or(String::new(), |goal| {
            format!("{} {}", self.direction, (goal * 1000.0).round() / 1000.0)
        });
        // Small figures differ in their second digit.
        let digits = if self.value.abs() < 10.0 { 2 } else { 1 };
        let met = match self.met {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None => "",
        };
        let line = format!(
            "{:<name_width$} {:>10} {:<4} {:>10} {:>7}  {goal:<8} {met}",
            self.name,
            number(Some(self.value), digits),
            self.unit,
            number(self.against, digits),
            number(self.ratio, 2),
        );
        line.trim_end().to_owned()
    }
}

/// All figures of one benchmark.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    results: Vec<Row>,
    /// Plots that explain them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    charts: Vec<Chart>,
}

impl Report {
    /// Adds a figure.
    pub fn add(&mut self, row: Row) {
        self.results.push(row);
    }

    /// Adds a plot.
    pub fn add_chart(&mut self, chart: Chart) {
        self.charts.push(chart);
    }

    /// Writes what the command line asks for.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn write(&self, arguments: &Arguments) -> Result<()> {
        let mut report = serde_json::to_value(self)?;
        if let (Some(file), true) = (&arguments.json, arguments.append) {
            let earlier = fs::read_to_string(file);
            let earlier = earlier.with_context(|| format!("--append: cannot read {}", file.display()))?;
            let earlier = serde_json::from_str(&earlier);
            let earlier = earlier.with_context(|| format!("--append: {} is no report", file.display()))?;
            report = appended(earlier, report);
        }
        if let Some(file) = &arguments.json {
            let json = serde_json::to_string_pretty(&report)? + "\n";
            fs::write(file, json).with_context(|| format!("cannot write {}", file.display()))?;
        }
        if let Some(file) = &arguments.html {
            fs::write(file, page::of(&report)?).with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(())
    }

    /// The table.
    pub fn table(&self) -> String {
        let width = self
            .results
            .iter()
            .map(|row| row.name.chars().count())
            .max()
            .unwrap_or(0);
        let mut table = format!(
            "{:<width$} {:>10} {:<4} {:>10} {:>7}  goal\n",
            "", "value", "unit", "against", "ratio"
        );
        for row in &self.results {
            table += &row.line(width);
            table.push('\n');
        }
        table
    }
}

/// A report with the figures and plots of another behind its own.
fn appended(mut earlier: Value, mut report: Value) -> Value {
    for key in ["results", "charts"] {
        let more = report.get_mut(key).and_then(Value::as_array_mut).map(std::mem::take);
        let Some(more) = more else { continue };
        match earlier.get_mut(key).and_then(Value::as_array_mut) {
            Some(there) => there.extend(more),
            None => earlier[key] = Value::Array(more),
        }
    }
    earlier
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::default();
        report.add(Row::new("relay", 30.0, "ns").against(20.0).goal(Goal::AtMost(2.0)));
        report.add(Row::new("calls", 900.0, "1/s").goal(Goal::AtLeast(1000.0)));
        report.add(Row::new("floor", 26.0, "ns"));
        report
    }

    #[test]
    fn machines_find_every_key_in_every_row() {
        let json = serde_json::to_value(report()).unwrap();
        let expected = serde_json::json!({"results": [
            {"name": "relay", "value": 30.0, "unit": "ns", "against": 20.0, "ratio": 1.5, "goal": 2.0, "met": true},
            {"name": "calls", "value": 900.0, "unit": "1/s", "against": null, "ratio": null, "goal": 1000.0,
             "met": false},
            {"name": "floor", "value": 26.0, "unit": "ns", "against": null, "ratio": null, "goal": null, "met": null},
        ]});
        assert_eq!(json, expected);
    }

    #[test]
    fn one_report_follows_another_in_one_file() {
        let directory = std::env::temp_dir().join(format!("voxlane-report-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join("all.json");
        let mut arguments = Arguments {
            json: Some(file.clone()),
            ..Arguments::default()
        };
        report().write(&arguments).unwrap();
        arguments.append = true;
        report().write(&arguments).unwrap();
        let written: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(written["results"].as_array().unwrap().len(), 6);
        fs::write(&file, "nothing").unwrap();
        assert!(report().write(&arguments).is_err());
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_figure_got_by_doing_wrong_meets_no_goal() {
        let calls = |holds| Row::new("calls", 2000.0, "").goal(Goal::AtLeast(1000.0)).only_if(holds);
        assert_eq!((calls(true).met, calls(false).met), (Some(true), Some(false)));
        assert_eq!(Row::new("floor", 26.0, "ns").only_if(false).met, None);
    }

    #[test]
    fn people_see_which_goal_is_missed() {
        let table = report().table();
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[1].ends_with("<= 2     met"), "{table}");
        assert!(lines[2].ends_with(">= 1000  NOT MET"), "{table}");
        assert!(lines[3].ends_with('-'), "{table}");
    }
}
