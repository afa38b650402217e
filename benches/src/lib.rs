//! Measures a piece of code against a baseline in the same run, so that figures of different machines compare.
//!
//! Subject and baseline take turns, in many short rounds: what disturbs the machine meanwhile disturbs both. The median
//! round counts.

pub mod arguments;
pub mod report;

use std::hint::black_box;
use std::time::{Duration, Instant};

/// How long a round lasts.
const ROUND: Duration = Duration::from_millis(5);
/// How many rounds each gets.
const ROUNDS: usize = 61;

/// Nanoseconds a call takes, for subject and baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The code in question.
    pub subject: f64,
    /// What it is compared with.
    pub baseline: f64,
}

impl Measured {
    /// How many times as long as the baseline the subject takes.
    pub fn ratio(self) -> f64 {
        self.subject / self.baseline
    }
}

/// Measures `subject` against `baseline` and prints a line.
pub fn compare<S, B>(name: &str, mut subject: impl FnMut() -> S, mut baseline: impl FnMut() -> B) -> Measured {
    let (subject_calls, baseline_calls) = (calls_in_a_round(&mut subject), calls_in_a_round(&mut baseline));
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        rounds.push((
            nanoseconds(&mut subject, subject_calls),
            nanoseconds(&mut baseline, baseline_calls),
        ));
    }
    let measured = Measured {
        subject: median(rounds.iter().map(|round| round.0)),
        baseline: median(rounds.iter().map(|round| round.1)),
    };
    let Measured { subject, baseline } = measured;
    println!(
        "{name:<32} {subject:>9.1} ns   baseline {baseline:>9.1} ns   ratio {:>7.2}",
        measured.ratio()
    );
    measured
}

/// Runs the cases in turns, many times, and returns the median of what each run gives, in their order.
///
/// # Errors
/// The first that a case ends with.
pub fn in_turns<C, E>(cases: &[C], mut run: impl FnMut(&C) -> Result<f64, E>) -> Result<Vec<f64>, E> {
    let mut rounds = vec![Vec::with_capacity(ROUNDS); cases.len()];
    for _ in 0..ROUNDS {
        for (case, values) in cases.iter().zip(&mut rounds) {
            values.push(run(case)?);
        }
    }
    Ok(rounds.into_iter().map(|values| median(values.into_iter())).collect())
}

/// Doubles the number of calls until they fill a round.
fn calls_in_a_round<R>(code: &mut impl FnMut() -> R) -> u32 {
    let mut calls = 1;
    while calls < 1 << 24 && nanoseconds(code, calls) * f64::from(calls) < ROUND.as_nanos() as f64 {
        calls *= 2;
    }
    calls
}

fn nanoseconds<R>(code: &mut impl FnMut() -> R, calls: u32) -> f64 {
    let start = Instant::now();
    for _ in 0..calls {
        black_box(code());
    }
    start.elapsed().as_nanos() as f64 / f64::from(calls)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_not_moved_by_one_slow_round() {
        assert_eq!(median([3.0, 1.0, 900.0, 2.0, 4.0].into_iter()), 3.0);
    }
}
