//! The checklist for people and for machines.

use std::fmt::Write;
use std::io::IsTerminal;
use std::path::Path;

use anyhow::Result;
use serde_json::json;

use super::checklist::{Checklist, Outcome};
use super::stage::Stage;

/// One JSON object: whether it holds, where it was measured, the rows.
pub fn for_machines(checklist: &Checklist, stage: &Stage) -> Result<String> {
    let object = json!({ "holds": checklist.holds(), "lab": stage.name(), "rows": checklist.rows });
    Ok(serde_json::to_string_pretty(&object)?)
}

/// A table, with colour where a person sees it.
pub fn for_people(checklist: &Checklist, stage: &Stage) -> String {
    table(
        checklist,
        stage,
        if std::io::stdout().is_terminal() {
            Colours::On
        } else {
            Colours::Off
        },
    )
}

/// Whether to colour.
#[derive(Clone, Copy)]
enum Colours {
    On,
    Off,
}

impl Colours {
    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::On => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Off => text.to_owned(),
        }
    }
}

fn table(checklist: &Checklist, stage: &Stage, colours: Colours) -> String {
    let width = checklist.rows.iter().map(|row| row.title.len()).max().unwrap_or(0);
    let mut text = format!(
        "\n{}: {}\n\n",
        colours.paint("1", "Pre-production checklist"),
        stage.description()
    );
    for row in &checklist.rows {
        let mark = match row.outcome {
            Outcome::Holds => colours.paint("32", "✔"),
            Outcome::Fails => colours.paint("31", "✘"),
            Outcome::NotTried => colours.paint("2", "·"),
        };
        let evidence = match row.outcome {
            Outcome::Holds | Outcome::Fails => row.evidence.clone(),
            Outcome::NotTried => colours.paint("2", &row.evidence),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {mark} {:<2}  {:<width$}  {evidence}", row.number, row.title);
    }
    let _ = writeln!(text, "\n{}", verdict(checklist, colours));
    text
}

fn verdict(checklist: &Checklist, colours: Colours) -> String {
    let count = |outcome| checklist.rows.iter().filter(|row| row.outcome == outcome).count();
    let (holding, failing, missing) = (count(Outcome::Holds), count(Outcome::Fails), count(Outcome::NotTried));
    let result = if failing == 0 {
        colours.paint("32", &format!("All {holding} rows hold"))
    } else {
        colours.paint("31", &format!("{failing} of {} rows fail", holding + failing))
    };
    format!("  {result}; {missing} not tried.\n")
}

/// How to call the gateway that keeps running.
pub fn invitation(stage: &Stage, binary: &Path, runtime_dir: &Path) -> String {
    let (host, binary, runtime) = (stage.address_for_guests(), binary.display(), runtime_dir.display());
    format!(
        "The gateway is up. Call it from this machine with any softphone (SIP over UDP, no registration):

    sip:+15550001@{host}   echo: says back what you say
    sip:+15550002@{host}   a tone of 440 Hz
    sip:+15551234@{host}   relayed to a second softphone, which plays 1000 Hz

or with its own:

    {binary} call sip:+15550001@{host} --tone 440 --record echo.wav

and look inside while you talk:

    {binary} flows --runtime-dir {runtime}
    {binary} calls --runtime-dir {runtime}

Ctrl-C ends it.
"
    )
}

#[cfg(test)]
mod tests {
    use super::super::checklist::Row;
    use super::*;

    fn row(number: &'static str, title: &'static str, outcome: Outcome, evidence: &str) -> Row {
        Row {
            number,
            title,
            outcome,
            evidence: evidence.into(),
        }
    }

    #[test]
    fn columns_stand_under_each_other() {
        let rows = vec![
            row("C1", "inbound call connects", Outcome::Holds, "200 OK after 3 ms"),
            row("", "lane", Outcome::Fails, "worker lane"),
            row("C7", "call transfer", Outcome::NotTried, "not yet offered"),
        ];
        let expected = "
Pre-production checklist: loopback, worker lane only

  ✔ C1  inbound call connects  200 OK after 3 ms
  ✘     lane                   worker lane
  · C7  call transfer          not yet offered

  1 of 2 rows fail; 1 not tried.

";
        assert_eq!(table(&Checklist { rows }, &Stage::Loopback, Colours::Off), expected);
    }

    #[test]
    fn machines_get_the_rows_as_they_are() {
        let checklist = Checklist {
            rows: vec![row("C1", "inbound call connects", Outcome::Holds, "200 OK")],
        };
        let object: serde_json::Value =
            serde_json::from_str(&for_machines(&checklist, &Stage::Loopback).unwrap()).unwrap();
        let expected = json!({
            "holds": true, "lab": "loopback",
            "rows": [{ "number": "C1", "title": "inbound call connects", "outcome": "holds", "evidence": "200 OK" }],
        });
        assert_eq!(object, expected);
    }
}
