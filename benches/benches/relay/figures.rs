//! The figures, and the plots that explain them.

use voxlane_benches::chart::{Chart, Line};
use voxlane_benches::report::{Goal, Report, Row};

use crate::EQUAL;
use crate::load::{Load, Paired};

/// A relay that has been measured.
pub struct Relay {
    pub name: &'static str,
    /// At the equal load.
    pub equal: Paired,
    /// With as many calls as it holds.
    pub most: Paired,
    /// With few calls, and with more and more.
    pub curve: Vec<Paired>,
}

impl Relay {
    fn held(&self) -> f64 {
        f64::from(self.most.load.calls)
    }

    /// Cores that it took to hold them, without the ends.
    fn cores(&self) -> f64 {
        self.most.cost() * self.most.load.rate() / 1e9
    }

    /// Calls for each core.
    fn a_core(&self) -> f64 {
        self.held() / self.cores()
    }
}

/// All that has been measured.
pub struct Measured {
    /// Bytes a relayed call.
    pub memory: f64,
    pub ours: Relay,
    pub smallest: Relay,
    /// The smallest XDP with as many calls as ours holds.
    pub beside: Load,
    pub rivals: Vec<Relay>,
}

/// A percentile of how long packets took, us.
fn us(load: &Load, percentile: f64) -> f64 {
    load.time(percentile).as_nanos() as f64 / 1e3
}

impl Measured {
    /// The table.
    pub fn report(&self) -> Report {
        let mut report = Report::default();
        for rival in &self.rivals {
            self.add_rival(&mut report, rival);
        }
        self.add_ours(&mut report);
        self.add_all(&mut report);
        self.charts().into_iter().for_each(|chart| report.add_chart(chart));
        report
    }

    /// Beside a rival. Goals are those beside rtpengine.
    fn add_rival(&self, report: &mut Report, rival: &Relay) {
        let (ours, name) = (&self.ours, rival.name);
        let goal = |row: Row, goal| match name {
            "rtpengine" => row.goal(Goal::AtLeast(goal)),
            _ => row,
        };
        for (what, cost, our_cost, at_least) in [
            (
                "with as many calls as each holds".to_owned(),
                rival.most.cost(),
                ours.most.cost(),
                20.0,
            ),
            (format!("at {EQUAL} calls"), rival.equal.cost(), ours.equal.cost(), 4.0),
        ] {
            let row = Row::new(format!("CPU a packet {what}: {name}, by voxlane's"), cost, "ns").against(our_cost);
            report.add(goal(row, at_least));
        }
        // Ours share their core with the ends, and are taken as they are; a process may have taken more than a core, or less.
        let row = Row::new(
            format!("calls held on one core: voxlane and the ends, by {name}'s for each core"),
            ours.held(),
            "",
        );
        report.add(goal(row.against(rival.a_core()), 15.0));
    }

    fn add_ours(&self, report: &mut Report) {
        let (ours, smallest) = (&self.ours, &self.smallest);
        report.add(
            Row::new("calls held on one core: voxlane and the ends", ours.held(), "").goal(Goal::AtLeast(10_000.0)),
        );
        // The more packets there are, the less each costs: at one load.
        report.add(
            Row::new(
                "CPU a packet, ends included, with voxlane's most calls: voxlane, by the smallest XDP's",
                ours.most.load.used_a_packet(),
                "ns",
            )
            .against(self.beside.used_a_packet())
            .goal(Goal::AtMost(1.25)),
        );
        report.add(
            Row::new(
                "calls held on one core: the smallest XDP, by voxlane's",
                smallest.held(),
                "",
            )
            .against(ours.held()),
        );
        for (percentile, name, goal) in [(50.0, "p50", 20.0), (99.9, "p99.9", 200.0)] {
            let added = us(&ours.equal.load, percentile) - us(&ours.equal.direct, percentile);
            report
                .add(Row::new(format!("added latency at {EQUAL} calls, {name}"), added, "us").goal(Goal::AtMost(goal)));
        }
        report.add(Row::new("memory of a relayed call", self.memory, "B").goal(Goal::AtMost(2_048.0)));
        let at = |calls| {
            ours.curve
                .iter()
                .find(|paired| paired.load.calls == calls)
                .map(Paired::cost)
        };
        if let (Some(few), Some(many)) = (at(100), at(10_000)) {
            report.add(
                Row::new("CPU a packet: voxlane at 10,000 calls, by at 100", many, "ns")
                    .against(few)
                    .goal(Goal::AtMost(1.3)),
            );
        }
    }

    /// What explains the rest.
    fn add_all(&self, report: &mut Report) {
        for relay in self.relays() {
            let (load, name) = (&relay.most.load, relay.name);
            let row = |what: &str, value, unit| Row::new(format!("{name}: {what}"), value, unit);
            report.add(row("calls held", relay.held(), ""));
            report.add(row("cores it took, without the ends", relay.cores(), ""));
            report.add(row("calls a core", relay.a_core(), ""));
            report.add(row("packets a second with them", load.rate(), "1/s"));
            report.add(row("of the ends' core in use with them", 100.0 * load.core(0), "%"));
            report.add(row("of the other core", 100.0 * load.core(1), "%"));
            report.add(row("CPU a packet with them", relay.most.cost(), "ns"));
            report.add(row(&format!("CPU a packet at {EQUAL} calls"), relay.equal.cost(), "ns"));
            report.add(row(
                &format!("p99.9 at {EQUAL} calls"),
                us(&relay.equal.load, 99.9),
                "us",
            ));
        }
    }

    fn relays(&self) -> impl Iterator<Item = &Relay> {
        [&self.ours, &self.smallest].into_iter().chain(&self.rivals)
    }

    fn charts(&self) -> [Chart; 3] {
        let lines = |value: fn(&Paired) -> f64| {
            let line = |relay: &Relay| {
                let mut points: Vec<(f64, f64)> = [&relay.equal, &relay.most]
                    .into_iter()
                    .chain(&relay.curve)
                    .map(|paired| (f64::from(paired.load.calls), value(paired)))
                    .collect();
                points.sort_by(|(one, _), (other, _)| one.total_cmp(other));
                Line {
                    name: relay.name.to_owned(),
                    points,
                }
            };
            self.relays().map(line).collect()
        };
        let chart = |title: &str, y: &str, value| Chart {
            title: title.to_owned(),
            x: "calls".to_owned(),
            y: y.to_owned(),
            lines: lines(value),
        };
        [
            chart("CPU of all cores, without that of the ends", "% of a core", |paired| {
                100.0 * paired.cost() * paired.load.rate() / 1e9
            }),
            chart("Latency, p99.9, end to end", "us", |paired| us(&paired.load, 99.9)),
            chart("CPU a packet", "ns", Paired::cost),
        ]
    }
}
