//! `voxlane status`

use voxlane_dataplane::media_plane::{InterfaceStatus, IoMode, IoStatus, PlaneStatus, WorkerHealth, WorkerStatus};

use super::kernel;
use crate::ops::report::{
    AgentCounts, AgentMessages, ApplicationCounts, GatewayRow, OverloadReport, ReferCounts, StatusReport, TapCounts,
    TransferCounts, TrunkRow,
};
use crate::ops::words;
use crate::rest::server::ApiCounts;
use crate::sip::AuthFailures;
use crate::sip::transport::ConnectionCounts;

/// The gateway at a glance.
pub(super) fn text(report: &StatusReport) -> String {
    let StatusReport {
        name,
        version,
        uptime_s,
        plane,
        sip,
        listen,
        connections,
        calls,
        agents,
        applications,
        taps,
        api,
        transfers,
        refers,
        quality,
        overload,
        waiting,
        tasks,
        auth_failures,
        trunks,
    } = report;
    let kernel = plane.kernel.as_ref().map(kernel::lines).unwrap_or_default();
    let kernel = kernel.into_iter().map(|line| format!("        {line}"));
    let mut lines = vec![
        format!("{name}: voxlane {version}, up {}", duration(*uptime_s)),
        format!(
            "calls   {} alive; since start {}, answered {}, failed {}",
            calls.active, calls.total, calls.answered, calls.failed
        ),
        format!("        {}", self::overload(overload, *waiting)),
        format!("agents  {} alive; {}", agents.active, agents_failed(agents)),
        format!(
            "media   {} of {} port pairs in use; {}; {}",
            plane.ports_in_use,
            plane.ports_total,
            workers(plane),
            io(&plane.io)
        ),
    ];
    lines.extend(
        plane
            .workers
            .iter()
            .enumerate()
            .map(|(index, worker)| self::worker(index, worker)),
    );
    if transfers.asked + transfers.failed + transfers.replaced > 0 {
        let TransferCounts {
            asked,
            referred,
            completed,
            failed,
            replaced,
        } = transfers;
        let by_refer = match referred {
            0 => String::new(),
            count => format!(" ({count} by REFER)"),
        };
        let replaced = match replaced {
            0 => String::new(),
            count => format!("; {count} legs replaced by their carrier"),
        };
        let line =
            format!("        transfers: {asked} begun{by_refer}, {completed} completed, {failed} failed{replaced}");
        lines.insert(2, line);
    }
    if applications.documents + applications.problems > 0 {
        let ApplicationCounts {
            documents,
            problems,
            callbacks,
            callbacks_failed,
        } = applications;
        let line = format!(
            "        applications: {documents} documents, {problems} problems; {callbacks} callbacks, {callbacks_failed} not taken"
        );
        lines.insert(2, line);
    }
    if taps.begun > 0 {
        let TapCounts { active, begun, failed } = taps;
        lines.insert(
            2,
            format!("        listened to: {active} now, {begun} begun, {failed} failed"),
        );
    }
    if api.requests > 0 {
        let ApiCounts {
            requests,
            unauthorized,
            refused,
        } = api;
        let line = format!("        REST API: {requests} requests, {unauthorized} unauthorized, {refused} refused");
        lines.insert(2, line);
    }
    if refers.received > 0 {
        let ReferCounts { received, refused } = refers;
        lines.insert(2, format!("        REFERs of carriers: {received}, {refused} refused"));
    }
    let crossings = quality.crossings.iter().filter(|(_, count)| *count > 0);
    let crossings: Vec<String> = crossings.map(|(measure, count)| format!("{measure} {count}")).collect();
    lines.extend([
        format!(
            "quality {} calls ended without media; limits crossed: {}",
            quality.media_timeouts,
            if crossings.is_empty() {
                "none".to_owned()
            } else {
                crossings.join(", ")
            }
        ),
        format!("XDP     {}", xdp(plane)),
    ]);
    lines.extend(kernel);
    lines.extend([
        format!(
            "SIP     {} dialogs and {} transactions alive; {} requests and {} responses received",
            sip.dialogs, sip.transactions, sip.requests, sip.responses
        ),
        format!(
            "        malformed {}, answered 400 {}, dropped {}, challenged {}, strangers {}, stray {}, repeated to us {}, repeated by us {}",
            sip.malformed,
            sip.bad_requests,
            sip.dropped,
            sip.challenged,
            sip.strangers,
            sip.stray,
            sip.retransmissions_received,
            sip.retransmissions_sent
        ),
        format!(
            "        sessions refreshed {}, expired {}",
            sip.sessions_refreshed, sip.sessions_expired
        ),
        format!("        listens on {}", listen.join(", ")),
        format!("        connections: {}", self::connections(connections)),
    ]);
    lines.extend(auth_failures.iter().map(auth_failure));
    lines.extend(trunks.iter().flat_map(trunk));
    lines.push(format!("tasks   {tasks}"));
    lines.join("\n") + "\n"
}

/// `failed 3 (refused 2, silent 1), 2 of their calls went elsewhere; messages malformed 5, too long 0`
fn agents_failed(agents: &AgentCounts) -> String {
    let some = agents.failures.iter().filter(|(_, count)| *count > 0);
    let some: Vec<String> = some.map(|(kind, count)| format!("{kind} {count}")).collect();
    let kinds = match some.is_empty() {
        true => String::new(),
        false => format!(" ({})", some.join(", ")),
    };
    let elsewhere = match agents.fallbacks {
        0 => String::new(),
        number => format!(", {number} of their calls went elsewhere"),
    };
    let sent = |of: fn(&AgentMessages) -> u64| agents.messages.iter().map(of).sum::<u64>();
    let unusable = match (sent(|row| row.malformed), sent(|row| row.oversized)) {
        (0, 0) => String::new(),
        (malformed, oversized) => format!("; messages malformed {malformed}, too long {oversized}"),
    };
    format!("failed {}{kinds}{elsewhere}{unusable}", agents.failed)
}

/// `taken; refused for being too many: calls 3; 0 wait to be placed; processors 12 % (host 30 %), signalling 0 ms late`
fn overload(report: &OverloadReport, waiting: u64) -> String {
    let OverloadReport {
        refusing,
        cpu,
        host_cpu,
        delay_ms,
        refused,
    } = report;
    let taken = match refusing {
        None => "taken".to_owned(),
        Some(reason) => format!("REFUSED ({reason})"),
    };
    let some = refused.iter().filter(|(_, count)| *count > 0);
    let some: Vec<String> = some.map(|(name, count)| format!("{name} {count}")).collect();
    let refused = if some.is_empty() {
        "none".to_owned()
    } else {
        some.join(", ")
    };
    let percent = |share: &Option<f64>| share.map_or("?".to_owned(), |share| format!("{:.0} %", share * 100.0));
    format!(
        "new ones are {taken}; refused for being too many: {refused}; {waiting} wait to be placed; processors {} (host {}), \
         signalling {delay_ms} ms late",
        percent(cpu),
        percent(host_cpu)
    )
}

/// `open: tcp 3; 5 accepted, 1 opened; refused: none; closed: theirs 3`
fn connections(counts: &ConnectionCounts) -> String {
    let list = |counts: &[(String, u64)]| {
        let some = counts.iter().filter(|(_, count)| *count > 0);
        let some: Vec<String> = some.map(|(name, count)| format!("{name} {count}")).collect();
        if some.is_empty() {
            "none".to_owned()
        } else {
            some.join(", ")
        }
    };
    format!(
        "open: {}; {} accepted, {} opened; refused: {}; closed: {}",
        list(&counts.open),
        counts.accepted,
        counts.opened,
        list(&counts.refused),
        list(&counts.closed)
    )
}

/// `trunk   carrier: registered, for 42 s more`, and a line for each address of its gateways.
fn trunk(trunk: &TrunkRow) -> Vec<String> {
    let TrunkRow {
        name,
        gateways,
        registration,
    } = trunk;
    let last = |last: &Option<String>| last.as_ref().map(|last| format!(" ({last})")).unwrap_or_default();
    let registration = match registration {
        None => String::new(),
        Some(row) => match (row.registered, row.expires_in_s) {
            (true, Some(left)) => format!(": registered, for {left} s more"),
            (true, None) => ": registered".to_owned(),
            (false, _) => format!(": not registered{}", last(&row.last)),
        },
    };
    let gateways = gateways.iter().map(|row| {
        let GatewayRow {
            gateway,
            target,
            state,
            last: seen,
        } = row;
        let target = target.as_deref().unwrap_or("not found");
        format!("        {gateway} ({target}) {}{}", state.word(), last(seen))
    });
    std::iter::once(format!("trunk   {name}{registration}"))
        .chain(gateways)
        .collect()
}

/// Whose credentials were not good, on which trunk, and why.
fn auth_failure(failure: &AuthFailures) -> String {
    let whose = match failure.whose.as_str() {
        "ours" => "our credentials",
        _ => "callers' credentials",
    };
    let trunk = match failure.trunk.as_str() {
        "" => String::new(),
        trunk => format!(" on trunk {trunk}"),
    };
    let reason = failure.reason.replace('_', " ");
    format!("        {whose}{trunk}: {reason} {}", failure.count)
}

/// The XDP mode of each interface, and why not a better one.
pub(super) fn xdp(plane: &PlaneStatus) -> String {
    let interfaces = plane
        .interfaces
        .iter()
        .map(|InterfaceStatus { name, mode, detail }| match detail {
            Some(detail) => format!("{name} {} ({detail})", words::mode(*mode)),
            None => format!("{name} {}", words::mode(*mode)),
        });
    let mut parts: Vec<String> = interfaces.collect();
    parts.extend(plane.unavailable.map(|reason| format!("no kernel lane: {reason}")));
    if parts.is_empty() {
        "on no interface".to_owned()
    } else {
        parts.join("; ")
    }
}

fn workers(plane: &PlaneStatus) -> String {
    let pinned = plane.workers.iter().map(|worker| match worker.core {
        Some(core) => format!("on core {core}"),
        None => "not pinned".to_owned(),
    });
    let pinned: Vec<String> = pinned.collect();
    match pinned.as_slice() {
        [] => "no workers".to_owned(),
        [one] => format!("1 worker, {one}"),
        more => format!("{} workers: {}", more.len(), more.join(", ")),
    }
}

/// `AF_XDP`, or `sockets (why)`
fn io(io: &IoStatus) -> String {
    let mode = match io.mode {
        IoMode::AfXdp => "AF_XDP",
        IoMode::Sockets => "sockets",
    };
    match &io.reason {
        Some(reason) => format!("{mode} ({reason})"),
        None => mode.to_owned(),
    }
}

/// `        worker 0: 12 calls, load 3 %, frames late by up to 0.4 ms, 0 given up, 0 commands wait`
fn worker(index: usize, worker: &WorkerStatus) -> String {
    let health = match worker.health {
        WorkerHealth::Working => "",
        WorkerHealth::Stalled => " STALLED,",
        WorkerHealth::Dead => " DEAD,",
    };
    format!(
        "        worker {index}:{health} {} calls, load {:.0} %, frames late by up to {:.1} ms, {} given up, {} commands wait",
        worker.residents,
        worker.load * 100.0,
        worker.late_ms,
        worker.given_up,
        worker.commands
    )
}

/// The two largest units of a number of seconds.
fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        (_, _, _) => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (seconds, text) in [(0, "0 s"), (61, "1 min 1 s"), (3_720, "1 h 2 min"), (90_000, "1 d 1 h")] {
            assert_eq!(duration(seconds), text);
        }
    }
}
