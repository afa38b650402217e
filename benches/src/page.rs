//! A report as a page for people: the table, and the plots.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::chart::Chart;

/// How it looks.
const STYLE: &str = "body{font:15px/1.5 sans-serif;margin:2em auto;max-width:72em;padding:0 1em;color:#222}\
                     table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #ddd;padding:.3em .6em;text-align:right}\
                     td:first-child,th:first-child{text-align:left}.met{color:#2e8b57}.missed{color:#c0392b;font-weight:bold}\
                     svg{max-width:100%;height:auto;margin:1em 0}";

/// The page of a report as it stands in a file for machines.
///
/// # Errors
/// If it is no report, or a plot cannot be drawn.
pub fn of(report: &Value) -> Result<String> {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>voxlane: benchmarks</title><style>{STYLE}</style></head>\
         <body>\n<h1>voxlane: benchmarks</h1>\n<table>\n<tr><th></th><th>value</th><th>unit</th><th>against</th><th>ratio</th>\
         <th>goal</th><th></th></tr>\n"
    );
    for row in report["results"].as_array().context("a report without results")? {
        page += &line(row)?;
    }
    page += "</table>\n";
    for chart in report["charts"].as_array().into_iter().flatten() {
        let chart: Chart = serde_json::from_value(chart.clone())?;
        page += &chart.svg()?;
        page.push('\n');
    }
    page += "</body></html>\n";
    Ok(page)
}

fn line(row: &Value) -> Result<String> {
    let number = |key: &str| row[key].as_f64();
    let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let shown = |value: Option<f64>| match value {
        None => String::new(),
        // Small figures differ in their second digit.
        Some(value) if value.abs() < 10.0 => format!("{value:.2}"),
        Some(value) => format!("{value:.1}"),
    };
    let met = row["met"].as_bool();
    let (class, verdict) = match met {
        Some(true) => ("met", "met"),
        Some(false) => ("missed", "not met"),
        None => ("", ""),
    };
    let goal = match (number("goal"), number("ratio").or(number("value"))) {
        (Some(goal), Some(figure)) => {
            let below = figure <= goal;
            let direction = if below == (met == Some(true)) { "<=" } else { ">=" };
            format!("{direction} {}", (goal * 1000.0).round() / 1000.0)
        }
        _ => String::new(),
    };
    let cells = [
        text("name"),
        shown(number("value")),
        text("unit"),
        shown(number("against")),
        shown(number("ratio")),
        goal,
    ];
    let mut line = String::from("<tr>");
    for cell in cells {
        write!(line, "<td>{}</td>", escaped(&cell))?;
    }
    writeln!(line, "<td class=\"{class}\">{verdict}</td></tr>")?;
    Ok(line)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Goal, Report, Row};

    fn page(row: Row) -> String {
        let mut report = Report::default();
        report.add(row);
        of(&serde_json::to_value(report).unwrap()).unwrap()
    }

    #[test]
    fn every_figure_is_on_the_page_and_what_it_should_be() {
        let page = page(Row::new("a & b", 30.0, "ns").against(20.0).goal(Goal::AtMost(1.25)));
        for part in ["a &amp; b", "30.0", "20.0", "1.50", "&lt;= 1.25", "not met"] {
            assert!(page.contains(&format!(">{part}<")), "{part}: {page}");
        }
    }

    #[test]
    fn the_goal_is_shown_the_way_it_is_meant() {
        let goal = |value, goal| page(Row::new("calls", value, "").goal(goal));
        assert!(goal(9.0, Goal::AtLeast(8.0)).contains("&gt;= 8"));
        assert!(goal(7.0, Goal::AtLeast(8.0)).contains("&gt;= 8"));
        assert!(goal(7.0, Goal::AtMost(8.0)).contains("&lt;= 8"));
        assert!(goal(9.0, Goal::AtMost(8.0)).contains("&lt;= 8"));
    }

    #[test]
    fn what_is_no_report_has_no_page() {
        assert!(of(&serde_json::json!({"calls": 3})).is_err());
    }
}
