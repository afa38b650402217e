//! `voxlane calls`

use super::table::{Table, words};
use crate::ops::report::{AgentFailureRow, CallReport, CallsReport, LegRow, TransferRow};
use crate::ops::words as say;

/// How many of the calls that ended are shown.
const RECENT: usize = 10;

/// The calls alive, and the last that ended.
pub(super) fn text(report: &CallsReport) -> String {
    let CallsReport { active, recent } = report;
    let alive = match active.len() {
        0 => "no calls alive\n".to_owned(),
        number => format!("{number} alive\n\n{}", alive(active)),
    };
    let ended = match recent.len() {
        0 => String::new(),
        number if number <= RECENT => format!("\n{number} ended\n\n{}", ended(recent)),
        number => format!(
            "\nlast {RECENT} of {number} ended (--json shows all)\n\n{}",
            ended(&recent[..RECENT])
        ),
    };
    alive + &ended
}

fn alive(calls: &[CallReport]) -> Table<9> {
    let mut table = Table::new([
        words("CALL"),
        words("STATE"),
        words("FROM"),
        words("TO"),
        words("TENANT"),
        words("TRUNK"),
        words("AGENT"),
        words("STARTED"),
        words("LEGS"),
    ]);
    for call in calls {
        table.row([
            call.id.clone(),
            [
                call.state.clone(),
                agent_failures(call),
                transfers(call),
                problems(call),
            ]
            .concat(),
            call.from.clone(),
            call.to.clone(),
            call.tenant.clone().unwrap_or_default(),
            call.trunk.clone().unwrap_or_default(),
            call.agent.clone().unwrap_or_default(),
            call.started.to_string(),
            legs(&call.legs),
        ]);
    }
    table
}

fn ended(calls: &[CallReport]) -> Table<8> {
    let mut table = Table::new([
        words("CALL"),
        words("FROM"),
        words("TO"),
        words("AGENT"),
        words("STARTED"),
        words("ANSWERED"),
        words("ENDED"),
        words("CAUSE"),
    ]);
    for call in calls {
        table.row([
            call.id.clone(),
            call.from.clone(),
            call.to.clone(),
            call.agent.clone().unwrap_or_default(),
            call.started.to_string(),
            call.answered.as_ref().map(ToString::to_string).unwrap_or_default(),
            call.ended.as_ref().map(ToString::to_string).unwrap_or_default(),
            [
                call.cause.clone().unwrap_or_default(),
                agent_failures(call),
                transfers(call),
                problems(call),
            ]
            .concat(),
        ]);
    }
    table
}

/// Its agents that failed: `; agent bot timed out while connecting: agent backup`.
fn agent_failures(call: &CallReport) -> String {
    let one = |failure: &AgentFailureRow| {
        let AgentFailureRow {
            agent, reason, then, ..
        } = failure;
        format!("; agent {agent} {reason}: {then}")
    };
    call.agent_failures.iter().map(one).collect()
}

/// What came of its transfers: `; transfer to +15550100: completed`.
fn transfers(call: &CallReport) -> String {
    let one = |transfer: &TransferRow| {
        let TransferRow { to, state, reason, .. } = transfer;
        let why = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        format!("; transfer to {to}: {state}{why}")
    };
    call.transfers.iter().map(one).collect()
}

/// What was wrong with its application: `; https://app.example/voice: answered with 500 (11200)`.
fn problems(call: &CallReport) -> String {
    call.problems.iter().map(|problem| format!("; {problem}")).collect()
}

/// Codec, lane and score of each leg, how many keys were pressed on it, its session timer and who refreshes, and which
/// limits were crossed, and whether it is over: `a PCMU kernel MOS 4.4 3 keys timer 1800 s by us, b PCMU kernel MOS 3.1
/// (loss), c PCMU left`.
fn legs(legs: &[LegRow]) -> String {
    let legs = legs.iter().map(|leg| {
        let LegRow {
            side,
            codec,
            lane,
            digits,
            mos,
            limits_crossed,
            session_timer,
            left,
            ..
        } = leg;
        let keys = match digits.len() {
            0 => String::new(),
            1 => " 1 key".to_owned(),
            number => format!(" {number} keys"),
        };
        let codec = codec.map(|codec| format!(" {codec}")).unwrap_or_default();
        let lane = lane.map(|lane| format!(" {}", say::lane(lane))).unwrap_or_default();
        let mos = mos.map(|mos| format!(" MOS {mos:.1}")).unwrap_or_default();
        let crossed = match limits_crossed.as_slice() {
            [] => String::new(),
            crossed => format!(" ({})", crossed.join(", ")),
        };
        let timer = session_timer.map(|timer| format!(" timer {timer}")).unwrap_or_default();
        let left = if *left { " left" } else { "" };
        format!("{side}{codec}{lane}{mos}{keys}{timer}{crossed}{left}")
    });
    legs.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use voxlane_dataplane::codec::Codec;
    use voxlane_dataplane::lane::Lane;

    use super::*;
    use crate::call::Side;
    use crate::call::transfer::{Asker, Way};
    use crate::sip::{Refresher, SessionTimer};

    fn call(id: &str) -> CallReport {
        let leg = LegRow {
            side: Side::A,
            call_id: "x".into(),
            local: None,
            remote: None,
            codec: Some(Codec::Pcma),
            lane: Some(Lane::Worker),
            reason: None,
            digits: "12#".into(),
            mos: Some(4.36),
            far_mos: None,
            limits_crossed: vec!["loss".into()],
            session_timer: Some(SessionTimer {
                interval: 1800,
                refresher: Refresher::Us,
            }),
            left: false,
        };
        let gone = LegRow {
            side: Side::C,
            lane: None,
            digits: String::new(),
            mos: None,
            limits_crossed: vec![],
            session_timer: None,
            left: true,
            ..leg.clone()
        };
        let transfer = TransferRow {
            to: "+15550200".into(),
            by: Way::Bridge,
            asked_by: Asker::Agent,
            state: "failed".into(),
            status: Some(486),
            reason: Some("486 Busy Here".into()),
        };
        CallReport {
            id: id.into(),
            state: "up".into(),
            from: "+15550100".into(),
            to: "+15550001".into(),
            did: None,
            tenant: Some("demo".into()),
            trunk: None,
            agent: Some("echo".into()),
            started: (UNIX_EPOCH + Duration::from_secs(1)).into(),
            answered: None,
            ended: None,
            cause: Some("the caller hung up".into()),
            legs: vec![leg, gone],
            attempts: vec![],
            transfers: vec![transfer],
            agent_failures: vec![],
            digits: String::new(),
            problems: vec![],
        }
    }

    #[test]
    fn alive_and_ended() {
        let report = CallsReport {
            active: vec![call("c12")],
            recent: vec![call("c11")],
        };
        assert_eq!(
            text(&report),
            "1 alive\n\
             \n\
             CALL  STATE                                              FROM       TO         TENANT  TRUNK  AGENT  STARTED                   LEGS\n\
             c12   up; transfer to +15550200: failed (486 Busy Here)  +15550100  +15550001  demo    -      echo   1970-01-01T00:00:01.000Z  a PCMA worker MOS 4.4 3 keys timer 1800 s by us (loss), c PCMA left\n\
             \n\
             1 ended\n\
             \n\
             CALL  FROM       TO         AGENT  STARTED                   ANSWERED  ENDED  CAUSE\n\
             c11   +15550100  +15550001  echo   1970-01-01T00:00:01.000Z  -         -      the caller hung up; transfer to +15550200: failed (486 Busy Here)\n"
        );
    }

    #[test]
    fn problems_of_applications() {
        let recent = vec![CallReport {
            transfers: vec![],
            problems: vec![
                "http://app/voice: answered with 500 (11200)".into(),
                "line 1: <Say> (12200)".into(),
            ],
            ..call("c1")
        }];
        let text = text(&CallsReport { active: vec![], recent });
        let expected = "the caller hung up; http://app/voice: answered with 500 (11200); line 1: <Say> (12200)\n";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn many_ended() {
        let recent = vec![call("c"); RECENT + 1];
        let text = text(&CallsReport { active: vec![], recent });
        assert!(
            text.starts_with("no calls alive\n\nlast 10 of 11 ended (--json shows all)\n"),
            "{text}"
        );
        assert_eq!(text.lines().filter(|line| line.starts_with("c ")).count(), RECENT);
    }
}
