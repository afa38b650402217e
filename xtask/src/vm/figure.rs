//! Figures that tests measure: a line `name=value` in what they print.

/// The value of the figure `name`, if the line tells it. Without captured output the line may begin with the test's name.
pub fn in_line(line: &str, name: &str) -> Option<f64> {
    let (_, rest) = line.split_once(name)?;
    rest.strip_prefix('=')?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::in_line;

    #[test]
    fn a_figure_is_found_behind_its_name() {
        let name = "pacing: within_1ms";
        assert_eq!(in_line("pacing: within_1ms=99.5", name), Some(99.5));
        assert_eq!(
            in_line("test a_burst ... pacing: within_1ms=100 of 400", name),
            Some(100.0)
        );
        for other in [
            "pacing: within_1ms",
            "pacing: within_1ms=",
            "within_1ms=3",
            "pacing: within_1ms=x",
        ] {
            assert_eq!(in_line(other, name), None, "{other}");
        }
    }
}
