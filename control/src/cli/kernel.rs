//! The kernel lane in `voxlane status`.

use voxlane_dataplane::media_plane::KernelStatus;

/// What the XDP program has counted, in a few lines.
pub(super) fn lines(kernel: &KernelStatus) -> Vec<String> {
    let KernelStatus {
        outcomes,
        durations,
        events_lost,
        mirrored_lost,
        adopted,
        orphans,
        pacing,
    } = kernel;
    let seen = outcomes.iter().filter(|(_, packets)| *packets > 0);
    let seen: Vec<String> = seen.map(|(outcome, packets)| format!("{outcome} {packets}")).collect();
    let mut second = Vec::new();
    if let (Some(half), Some(nearly_all)) = (quantile(durations, 50), quantile(durations, 99)) {
        second.push(format!("time in the program: half {half}, 99 % {nearly_all}"));
    }
    second.push(format!("lost: {events_lost} events, {mirrored_lost} captured frames"));
    let mut third = Vec::new();
    if *adopted {
        let carrying = match orphans {
            0 => String::new(),
            1 => ", 1 leg of its calls still carries media".to_owned(),
            legs => format!(", {legs} legs of its calls still carry media"),
        };
        third.push(format!("taken over from an earlier process{carrying}"));
    }
    let can: Vec<String> = pacing
        .iter()
        .map(|(interface, has_fq)| match has_fq {
            true => format!("{interface} can pace"),
            false => format!("{interface} cannot pace (no fq)"),
        })
        .collect();
    third.extend((!can.is_empty()).then(|| can.join(", ")));
    let packets = match seen.as_slice() {
        [] => "no packets yet".to_owned(),
        seen => seen.join(", "),
    };
    let mut lines = vec![packets, second.join("; ")];
    lines.extend((!third.is_empty()).then(|| third.join("; ")));
    lines
}

/// Below what so many percent of the runs were; `None` if there were none.
fn quantile(durations: &[(u64, u64)], percent: u64) -> Option<String> {
    let runs: u64 = durations.iter().map(|(_, runs)| runs).sum();
    let mut below = 0;
    let mut least = 0;
    for &(bound, runs_here) in durations {
        below += runs_here;
        // In 128 bits: a busy gateway counts 10^15 runs in a decade.
        if runs > 0 && u128::from(below) * 100 >= u128::from(runs) * u128::from(percent) {
            return Some(match bound {
                u64::MAX => format!("over {least} ns"),
                bound => format!("under {bound} ns"),
            });
        }
        least = bound;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel() -> KernelStatus {
        KernelStatus {
            outcomes: vec![
                ("redirected".into(), 1000),
                ("wrong_source".into(), 0),
                ("unallocated".into(), 3),
            ],
            durations: vec![(128, 600), (256, 395), (u64::MAX, 8)],
            events_lost: 1,
            mirrored_lost: 2,
            adopted: true,
            orphans: 4,
            pacing: vec![("eth0".into(), true), ("eth1".into(), false)],
        }
    }

    #[test]
    fn at_a_glance() {
        assert_eq!(
            lines(&kernel()),
            [
                "redirected 1000, unallocated 3",
                "time in the program: half under 128 ns, 99 % under 256 ns; lost: 1 events, 2 captured frames",
                "taken over from an earlier process, 4 legs of its calls still carry media; eth0 can pace, eth1 cannot pace \
                 (no fq)",
            ]
        );
        assert_eq!(
            lines(&KernelStatus::default()),
            ["no packets yet", "lost: 0 events, 0 captured frames"]
        );
    }

    #[test]
    fn quantiles() {
        let durations = [(128, 1), (256, 0), (u64::MAX, 1)];
        assert_eq!(quantile(&durations, 50).as_deref(), Some("under 128 ns"));
        assert_eq!(quantile(&durations, 51).as_deref(), Some("over 256 ns"));
        assert_eq!(quantile(&[(128, 0)], 50), None);
        assert_eq!(quantile(&[], 50), None);
    }
}
