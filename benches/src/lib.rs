//! Measures a piece of code against a baseline in the same run, so that figures of different machines compare.
//!
//! Subject and baseline take turns, in many short rounds: what disturbs the machine meanwhile disturbs both. The median
//! round counts.

pub mod arguments;
pub mod chart;
pub mod cores;
pub mod datagrams;
pub mod groups;
pub mod idle;
pub mod interrupt;
pub mod page;
pub mod report;
pub mod witness;

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

/// Runs the cases in turns, many times, and returns what each run gives: for each case the mean of the middle half of
/// its values. Unlike a median, that tells parts of a unit where the values are whole.
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
    Ok(rounds.into_iter().map(middle).collect())
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

/// The mean of the middle half.
fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let quarter = values.len() / 4;
    let half = &values[quarter..values.len() - quarter];
    half.iter().sum::<f64>() / half.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_take_turns_and_one_slow_round_counts_for_nothing() {
        let mut order = Vec::new();
        let values = in_turns(&[1.0, 2.0], |case| {
            order.push(*case);
            Ok::<_, ()>(if order.len() < 3 { 900.0 } else { *case })
        });
        assert_eq!(values, Ok(vec![1.0, 2.0]));
        assert_eq!(order[..4], [1.0, 2.0, 1.0, 2.0]);
    }

    #[test]
    fn the_median_is_not_moved_by_one_slow_round() {
        assert_eq!(median([3.0, 1.0, 900.0, 2.0, 4.0].into_iter()), 3.0);
    }
}
